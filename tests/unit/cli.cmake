# What the command line reads from strangers; its behaviour is tested end to end (test_cli_offline.py).
if(TARGET latchkey::cli)
  lk_unit_test(message_corpus_test SOURCES ../fuzz/message_fuzz.c ../fuzz/replay.c
    LIBS latchkey::cli)
  target_include_directories(message_corpus_test PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}/fuzz")
  # -iquote, not -I: the folder's limits.h must not stand in for the system's.
  target_compile_options(message_corpus_test PRIVATE
    -iquote "${PROJECT_SOURCE_DIR}/tools/latchkey")
  target_compile_definitions(message_corpus_test PRIVATE
    LK_CORPUS_DIR="${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/message")
endif()
