# The parts of the Mosquitto plugin that can be tried without a broker.
if(TARGET latchkey-plugin-core)
  function(lk_plugin_test name)
    lk_unit_test(${name} SOURCES ${name}.c plugin_memory.c LIBS latchkey::plugin-core)
    # -iquote, not -I: broker-plugin/limits.h must not stand in for the system's.
    target_compile_options(${name} PRIVATE "SHELL:-iquote ${PROJECT_SOURCE_DIR}/broker-plugin")
  endfunction()

  lk_plugin_test(plugin_options_test)
  lk_plugin_test(plugin_sessions_test)
  lk_plugin_test(plugin_state_test)
  lk_plugin_test(plugin_keys_test)
  lk_plugin_test(plugin_ace_test)
  target_link_libraries(plugin_ace_test PRIVATE dep::jansson)
  lk_plugin_test(plugin_metrics_test)
  lk_plugin_test(plugin_denials_test)
  lk_plugin_test(plugin_presence_test)
  lk_plugin_test(plugin_revocations_test)

  # Deferred: lk_replay() stands in a list that is read after this one.
  cmake_language(DEFER CALL lk_replay feed LIBS latchkey::plugin-core)
  cmake_language(DEFER CALL target_compile_options feed_corpus_test PRIVATE
    "SHELL:-iquote ${PROJECT_SOURCE_DIR}/broker-plugin")
endif()
