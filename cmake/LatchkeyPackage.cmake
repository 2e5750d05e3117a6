# The token library for other projects: a CMake package and pkg-config files. Everything belongs to
# the component "token", so that it can be installed alone, and nothing in it knows its prefix.

set(LK_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/latchkey)
set(LK_PKG_CONFIG_DIR ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
set(LK_PACKAGE_SOURCES "${CMAKE_CURRENT_LIST_DIR}")

configure_package_config_file("${LK_PACKAGE_SOURCES}/latchkey-config.cmake.in"
  "${PROJECT_BINARY_DIR}/latchkey-config.cmake" INSTALL_DESTINATION ${LK_PACKAGE_DIR}
  NO_SET_AND_CHECK_MACRO)
# Before 1.0 a minor version may break what stood before it.
write_basic_package_version_file("${PROJECT_BINARY_DIR}/latchkey-config-version.cmake"
  COMPATIBILITY SameMinorVersion)
install(FILES "${PROJECT_BINARY_DIR}/latchkey-config.cmake"
  "${PROJECT_BINARY_DIR}/latchkey-config-version.cmake"
  DESTINATION ${LK_PACKAGE_DIR} COMPONENT token)

# lk_package(export): the targets of an export set, read by latchkey-config.cmake if they are there.
function(lk_package export)
  install(EXPORT ${export} NAMESPACE latchkey:: FILE ${export}-targets.cmake
    DESTINATION ${LK_PACKAGE_DIR} COMPONENT token)
endfunction()

# lk_pkg_config(name): name.pc, which finds the prefix from the folder it lies in.
function(lk_pkg_config name)
  file(RELATIVE_PATH LK_PREFIX_FROM_PC "/prefix/${LK_PKG_CONFIG_DIR}" "/prefix")
  configure_file("${LK_PACKAGE_SOURCES}/${name}.pc.in" "${PROJECT_BINARY_DIR}/${name}.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/${name}.pc" DESTINATION ${LK_PKG_CONFIG_DIR} COMPONENT token)
endfunction()
