# latchkeyd: what can be tested without a network.
if(TARGET latchkeyd-core)
  foreach(part form refresh config store feed)
    lk_unit_test(provisioning_${part}_test SOURCES provisioning_${part}_test.c
      LIBS latchkey::latchkeyd-core dep::jansson Threads::Threads)
    # -iquote, not -I: provisioning/limits.h must not stand in for the system's.
    target_compile_options(provisioning_${part}_test PRIVATE
      "SHELL:-iquote ${PROJECT_SOURCE_DIR}/provisioning")
  endforeach()

  # Deferred: lk_replay() stands in a list that is read after this one.
  cmake_language(DEFER CALL lk_replay token_request LIBS latchkey::latchkeyd-core dep::jansson)
  cmake_language(DEFER CALL target_compile_options token_request_corpus_test PRIVATE
    "SHELL:-iquote ${PROJECT_SOURCE_DIR}/provisioning")
endif()
