# The device SDK. Some tests look behind its headers, so they see device-sdk/ itself.
if(TARGET latchkey::device)
  function(lk_device_test name)
    lk_unit_test(${name} ${ARGN})
    target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/device-sdk")
  endfunction()

  lk_device_test(device_mqtt_test SOURCES device_mqtt_test.c LIBS latchkey::device)
  lk_device_test(device_http_test SOURCES device_http_test.c LIBS latchkey::device)
  lk_device_test(device_token_test SOURCES device_token_test.c LIBS latchkey::device)
  lk_device_test(device_outbox_test SOURCES device_outbox_test.c LIBS latchkey::device)
  lk_device_test(device_source_test SOURCES device_source_test.c LIBS latchkey::device)
  lk_device_test(device_test SOURCES device_test.c LIBS latchkey::device)
  if(TARGET dep::jansson)
    lk_device_test(device_mqtt_vectors_test SOURCES device_mqtt_vectors_test.c
      LIBS latchkey::device dep::jansson)
  endif()
  if(TARGET latchkey::device-posix AND TARGET dep::openssl)
    lk_device_test(device_tls_test SOURCES device_tls_test.c
      LIBS latchkey::device-posix dep::openssl Threads::Threads)
  endif()

  # Flash and RAM on a Cortex-M4 stay under their limits; skipped without the cross compiler.
  add_test(NAME device_sizes COMMAND "${PROJECT_SOURCE_DIR}/device-sdk/sizes" --check)
  set_tests_properties(device_sizes PROPERTIES SKIP_REGULAR_EXPRESSION "sizes: skipped")

  # Deferred: lk_replay() stands in a list that is read after this one.
  cmake_language(DEFER CALL lk_replay mqtt_codec LIBS latchkey::device)
  cmake_language(DEFER CALL lk_replay http_answer LIBS latchkey::device)
  cmake_language(DEFER CALL lk_replay token_answer LIBS latchkey::device)
endif()
