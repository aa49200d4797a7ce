# Installation: headers, libraries, program, pkg-config files, CMake package.
# SPDX-License-Identifier: MIT OR Apache-2.0
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/mqtt5
    DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")
if(m5_installed_targets)
    include(CMakePackageConfigHelpers)
    set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/mqtt5)
    install(TARGETS ${m5_installed_targets} EXPORT mqtt5-targets
        RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
    install(EXPORT mqtt5-targets NAMESPACE mqtt5:: DESTINATION ${package_dir})
    configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/mqtt5-config.cmake.in
        ${PROJECT_BINARY_DIR}/mqtt5-config.cmake INSTALL_DESTINATION ${package_dir})
    write_basic_package_version_file(${PROJECT_BINARY_DIR}/mqtt5-config-version.cmake
        COMPATIBILITY SameMinorVersion)
    install(FILES ${PROJECT_BINARY_DIR}/mqtt5-config.cmake
        ${PROJECT_BINARY_DIR}/mqtt5-config-version.cmake DESTINATION ${package_dir})
    # The pkg-config files find their prefix from where they lie, so an installed tree can be moved.
    file(RELATIVE_PATH PC_PREFIX_FROM_PCDIR
        ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
    foreach(name IN ITEMS mqtt5 mqtt5-protocol)
        configure_file(${PROJECT_SOURCE_DIR}/cmake/${name}.pc.in
            ${PROJECT_BINARY_DIR}/${name}.pc @ONLY)
        install(FILES ${PROJECT_BINARY_DIR}/${name}.pc
            DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
    endforeach()
endif()
# Manual pages and completions are in the tree, made by `make docs`.
if(TARGET mqttv5)
    file(GLOB manual_pages ${PROJECT_SOURCE_DIR}/docs/man/*.1)
    install(FILES ${manual_pages} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
    install(FILES ${PROJECT_SOURCE_DIR}/completions/mqttv5.bash
        DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions RENAME mqttv5)
    install(FILES ${PROJECT_SOURCE_DIR}/completions/_mqttv5
        DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
endif()
