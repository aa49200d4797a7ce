# One static library per layer of DESIGN.md section 2; each sees the layers below it and no others.
# A layer without sources yet is an empty interface, so that every layer can be linked by name.
# SPDX-License-Identifier: MIT OR Apache-2.0
function(m5_layer name)
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/src/${name}/*.c)
    list(TRANSFORM ARGN PREPEND m5_ OUTPUT_VARIABLE below)
    if(sources)
        add_library(m5_${name} STATIC ${sources})
        target_link_libraries(m5_${name} PUBLIC m5_flags ${below})
    else()
        add_library(m5_${name} INTERFACE)
        target_link_libraries(m5_${name} INTERFACE m5_flags ${below})
    endif()
endfunction()

# Layers that talk to the system need its extensions; the sans-I/O ones get plain C17.
function(m5_layer_of_system name)
    m5_layer(${name} ${ARGN})
    get_target_property(type m5_${name} TYPE)
    if(NOT type STREQUAL "INTERFACE_LIBRARY")
        target_compile_definitions(m5_${name} PRIVATE _GNU_SOURCE)
        target_link_libraries(m5_${name} PUBLIC Threads::Threads)
    endif()
endfunction()

m5_layer(base)
m5_layer(protocol base)
m5_layer(client protocol base)
m5_layer(broker protocol base)
m5_layer_of_system(transport protocol base)
m5_layer_of_system(host transport broker client protocol base)

# Sets <out> to the objects of the named layers.
function(m5_layer_objects out)
    set(objects)
    foreach(name IN LISTS ARGN)
        get_target_property(type m5_${name} TYPE)
        if(NOT type STREQUAL "INTERFACE_LIBRARY")
            list(APPEND objects $<TARGET_OBJECTS:m5_${name}>)
        endif()
    endforeach()
    set(${out} ${objects} PARENT_SCOPE)
endfunction()
