# The token library as another project gets it: installed, found, linked, run. Not under a sanitizer,
# which the other project would have to have too.
if(TARGET latchkey::verify AND NOT LATCHKEY_SANITIZE)
  add_test(NAME consumer_test
    COMMAND "${CMAKE_CURRENT_SOURCE_DIR}/consumer/check" "${PROJECT_BINARY_DIR}")
  set_tests_properties(consumer_test PROPERTIES TIMEOUT 300 SKIP_RETURN_CODE 77)
endif()
