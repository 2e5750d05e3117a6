# The bench of token/: built with the tests so that it stays buildable, and run once in its short form.
if(TARGET latchkey::verify AND NOT LATCHKEY_SANITIZE)
  set(bench "${CMAKE_CURRENT_SOURCE_DIR}/bench")
  add_executable(token_bench "${bench}/token_bench.c" "${bench}/bench.c" "${bench}/token_rows.c"
    "${bench}/topic_rows.c")
  target_link_libraries(token_bench PRIVATE latchkey::verify dep::openssl)
  lk_flags(token_bench)
  add_test(NAME token_bench
    COMMAND "${bench}/token" --quick --check --program $<TARGET_FILE:token_bench>)
  set_tests_properties(token_bench PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77)
endif()
