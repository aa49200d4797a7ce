# Compiler and linker flags of every target, carried by the interface target m5_flags.
# SPDX-License-Identifier: MIT OR Apache-2.0
set(CMAKE_C_STANDARD 17)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
find_package(Threads REQUIRED)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C)

add_library(m5_flags INTERFACE)
target_compile_options(m5_flags INTERFACE
    -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes -Wvla
    # Calls between our own files need no detour through the PLT, even in the shared library.
    -fno-semantic-interposition
    # The same source gives the same bytes, whatever folder it was built in; debuggers started
    # in the source folder find it.  (gcc tries the last map first.)
    -ffile-prefix-map=${PROJECT_SOURCE_DIR}=.
    -ffile-prefix-map=${PROJECT_BINARY_DIR}=.
    $<$<C_COMPILER_ID:Clang,AppleClang>:-ffile-compilation-dir=.>)
# The costly whole-structure checks of base/assert.h.
target_compile_definitions(m5_flags INTERFACE $<$<CONFIG:Debug>:M5_DEBUG>)
target_include_directories(m5_flags INTERFACE
    ${PROJECT_SOURCE_DIR}/include ${PROJECT_SOURCE_DIR}/src)

if(MQTT5_SANITIZE)
    set(sanitize -fsanitize=${MQTT5_SANITIZE} -fno-sanitize-recover=all)
    target_compile_options(m5_flags INTERFACE ${sanitize})
    target_link_options(m5_flags INTERFACE ${sanitize})
else()
    target_compile_options(m5_flags INTERFACE
        -fstack-protector-strong $<$<CONFIG:Release,RelWithDebInfo>:-D_FORTIFY_SOURCE=2>)
    target_link_options(m5_flags INTERFACE -Wl,-z,relro,-z,now)
endif()

if(MQTT5_FUZZ)
    if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
        message(FATAL_ERROR "MQTT5_FUZZ needs clang: use the preset 'fuzz'")
    endif()
    target_compile_options(m5_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
