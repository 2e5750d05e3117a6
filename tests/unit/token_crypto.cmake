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
