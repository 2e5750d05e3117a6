# Writes the files of examples/ into a C file, as arrays that end in a zero byte.
# cmake -DOUT=... -DCONF=... -DACL=... -P templates.cmake
function(bytes_of file out)
  file(READ "${file}" hex HEX)
  string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
  string(REGEX REPLACE "(0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],0x[0-9a-f][0-9a-f],)"
    "\\1\n" bytes "${bytes}")
  set(${out} "${bytes}" PARENT_SCOPE)
endfunction()

bytes_of("${CONF}" conf)
bytes_of("${ACL}" acl)
file(WRITE "${OUT}" "extern const char template_conf[], template_acl[];\n
const char template_conf[] = {\n${conf}0};\n
const char template_acl[] = {\n${acl}0};\n")
