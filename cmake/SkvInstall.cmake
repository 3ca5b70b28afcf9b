# `cmake --install`: the programs, and the library skv::llm with all that it links to, for
# find_package(skv CONFIG).
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

# skv_link_closure(out skv_llm): these targets and all of this project that they link to.
function(skv_link_closure out)
  set(closure)
  set(open ${ARGN})
  while(open)
    list(POP_FRONT open target)
    if(NOT target IN_LIST closure)
      list(APPEND closure ${target})
      get_target_property(links ${target} INTERFACE_LINK_LIBRARIES)
      list(FILTER links INCLUDE REGEX "^skv_")
      list(APPEND open ${links})
    endif()
  endwhile()
  set(${out} ${closure} PARENT_SCOPE)
endfunction()

install(TARGETS skv skv-kvstore skv-router skv-worker)

set(SKV_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/skv)
skv_link_closure(libraries skv_llm)
install(TARGETS ${libraries} EXPORT skvTargets FILE_SET HEADERS)
install(EXPORT skvTargets NAMESPACE skv:: DESTINATION ${SKV_PACKAGE_DIR})
configure_package_config_file(cmake/skvConfig.cmake.in skvConfig.cmake
                              INSTALL_DESTINATION ${SKV_PACKAGE_DIR})
write_basic_package_version_file(skvConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/skvConfig.cmake ${CMAKE_BINARY_DIR}/skvConfigVersion.cmake
        DESTINATION ${SKV_PACKAGE_DIR})
