# The OpenSSL port's own: ES256 by table, and memory that runs out.
if(TARGET dep::jansson)
  lk_token_test(crypto_table_test SOURCES crypto_table_test.c
    LIBS latchkey::verify dep::openssl dep::jansson Threads::Threads)
  target_compile_definitions(crypto_table_test PRIVATE
    LK_ES256_TABLE=$<BOOL:${LATCHKEY_ES256_TABLE}>)
  foreach(call EC_GROUP_set_generator EC_GROUP_precompute_mult EC_GROUP_have_precompute_mult
      EC_POINT_get_Jprojective_coordinates_GFp)
    target_link_options(crypto_table_test PRIVATE LINKER:--wrap=${call})
  endforeach()
endif()
lk_token_test(crypto_memory_test SOURCES crypto_memory_test.c LIBS latchkey::verify dep::openssl)

# With crypto_calls.c between the port and OpenSSL, for all the calls it defines.
file(STRINGS "${CMAKE_CURRENT_SOURCE_DIR}/unit/crypto_calls.c" lines
  REGEX "^[A-Za-z_]+\\((EVP|CRYPTO|RAND|OSSL|BN|EC)_")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
  "${CMAKE_CURRENT_SOURCE_DIR}/unit/crypto_calls.c")
lk_token_test(crypto_calls_test SOURCES crypto_memory_test.c crypto_calls.c
  LIBS latchkey::verify dep::openssl)
target_compile_definitions(crypto_calls_test PRIVATE LK_CALLS_FAIL)
lk_token_test(crypto_fetch_test SOURCES crypto_fetch_test.c crypto_calls.c
  LIBS latchkey::verify dep::openssl)
foreach(line IN LISTS lines)
  string(REGEX REPLACE "^[A-Za-z_]+\\(([A-Za-z0-9_]+).*" "\\1" call "${line}")
  target_link_options(crypto_calls_test PRIVATE LINKER:--wrap=${call})
  target_link_options(crypto_fetch_test PRIVATE LINKER:--wrap=${call})
endforeach()
