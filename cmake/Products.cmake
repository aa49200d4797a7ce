# What users get: libmqtt5, libmqtt5-protocol (each static and shared), and the program mqttv5.
# SPDX-License-Identifier: MIT OR Apache-2.0
set(m5_installed_targets)

# m5_library(<target> <file name> <export name> <layers...>)
function(m5_library target file export)
    m5_layer_objects(objects ${ARGN})
    if(NOT objects)
        return()
    endif()
    foreach(kind IN ITEMS shared static)
        string(TOUPPER ${kind} type)
        add_library(${target}_${kind} ${type} ${objects})
        set_target_properties(${target}_${kind} PROPERTIES
            OUTPUT_NAME ${file} LINKER_LANGUAGE C
            VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
        target_include_directories(${target}_${kind} INTERFACE
            $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
            $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
        target_link_libraries(${target}_${kind} PRIVATE $<BUILD_INTERFACE:m5_flags>)
        list(APPEND m5_installed_targets ${target}_${kind})
    endforeach()
    set_target_properties(${target}_shared PROPERTIES EXPORT_NAME ${export})
    set_target_properties(${target}_static PROPERTIES EXPORT_NAME ${export}_static)
    add_library(mqtt5::${export} ALIAS ${target}_shared)
    add_library(mqtt5::${export}_static ALIAS ${target}_static)
    set(m5_installed_targets ${m5_installed_targets} PARENT_SCOPE)
endfunction()

m5_library(mqtt5_protocol mqtt5-protocol protocol base protocol)
m5_library(mqtt5 mqtt5 mqtt5 base protocol client broker transport host)
foreach(target IN ITEMS mqtt5_shared mqtt5_static)
    if(TARGET ${target})
        target_link_libraries(${target} PUBLIC Threads::Threads lmdb yaml gnutls
            ${m5_auth_libraries})
    endif()
endforeach()

# The commands are a library of their own, so that tests can link them without main().
file(GLOB_RECURSE cli_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/cli/*.c)
set(cli_main ${PROJECT_SOURCE_DIR}/src/cli/main.c)
list(REMOVE_ITEM cli_sources ${cli_main})
if(cli_sources)
    add_library(m5_cli STATIC ${cli_sources})
    target_compile_definitions(m5_cli PRIVATE _GNU_SOURCE)
    target_link_libraries(m5_cli PUBLIC m5_host m5_client m5_broker m5_flags m)
else()
    add_library(m5_cli INTERFACE)
    target_link_libraries(m5_cli INTERFACE m5_host m5_client m5_broker m5_flags)
endif()
# With MQTT5_LTO the program is compiled as a whole, apart from the libraries, whose objects stay
# ordinary ones for whoever links them (what it gains: docs/performance.md).
option(MQTT5_LTO "compile the program mqttv5 with link-time optimisation" OFF)
if(EXISTS ${cli_main} AND MQTT5_LTO)
    file(GLOB_RECURSE program_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/*.c)
    add_executable(mqttv5 ${program_sources})
    target_compile_options(mqttv5 PRIVATE -O3 -flto=auto)
    target_link_options(mqttv5 PRIVATE -O3 -flto=auto)
    target_link_libraries(mqttv5 PRIVATE m5_flags Threads::Threads lmdb yaml m gnutls
        ${m5_auth_libraries})
elseif(EXISTS ${cli_main})
    add_executable(mqttv5 ${cli_main})
    target_link_libraries(mqttv5 PRIVATE m5_cli)
endif()
if(TARGET mqttv5)
    target_compile_definitions(mqttv5 PRIVATE _GNU_SOURCE)
    list(APPEND m5_installed_targets mqttv5)
endif()
