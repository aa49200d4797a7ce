# The example programs, built as a user would: against the public headers and libmqtt5 alone.
# SPDX-License-Identifier: MIT OR Apache-2.0
find_package(Python3 COMPONENTS Interpreter)
file(GLOB example_sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/examples/*.c)
foreach(source IN LISTS example_sources)
    cmake_path(GET source STEM name)
    add_executable(example_${name} ${source})
    set_target_properties(example_${name} PROPERTIES
        OUTPUT_NAME ${name} RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/examples)
    target_compile_options(example_${name} PRIVATE -Wall -Wextra -Wconversion -Wshadow)
    target_compile_definitions(example_${name} PRIVATE _POSIX_C_SOURCE=200809L)
    target_link_libraries(example_${name} PRIVATE mqtt5::mqtt5_static Threads::Threads)
    if(MQTT5_SANITIZE)
        target_link_options(example_${name} PRIVATE -fsanitize=${MQTT5_SANITIZE})
    endif()
endforeach()
if(Python3_FOUND)
    add_test(NAME examples COMMAND ${Python3_EXECUTABLE}
        ${PROJECT_SOURCE_DIR}/examples/check.py ${PROJECT_BINARY_DIR}/examples)
    set_tests_properties(examples PROPERTIES LABELS unit TIMEOUT 200)
endif()
