# The desk of latchkeyd; the store under it is the real one.
if(TARGET latchkeyd-core)
  # -iquote, not -I: provisioning/limits.h must not stand in for the system's.
  set(desk_include "SHELL:-iquote ${PROJECT_SOURCE_DIR}/provisioning")

  lk_unit_test(desk_message_test SOURCES desk_message_test.c LIBS latchkey::latchkeyd-core)
  target_compile_options(desk_message_test PRIVATE ${desk_include})
  lk_unit_test(desk_commands_test SOURCES desk_commands_test.c
    LIBS latchkey::latchkeyd-core Threads::Threads)
  target_compile_options(desk_commands_test PRIVATE ${desk_include})

  # Deferred: lk_replay() stands in a list that is read after this one.
  cmake_language(DEFER CALL lk_replay desk_message LIBS latchkey::latchkeyd-core)
  cmake_language(DEFER CALL target_compile_options desk_message_corpus_test PRIVATE
    ${desk_include})
endif()
