# Ids, scopes, topics, the scope map and compiled grants.
lk_unit_test(id_test SOURCES id_test.c LIBS latchkey::token)
lk_unit_test(scope_test SOURCES scope_test.c LIBS latchkey::token)
lk_unit_test(policy_test SOURCES policy_test.c LIBS latchkey::token)
lk_token_test(permissions_test SOURCES permissions_test.c LIBS latchkey::token)
lk_token_test(token_permissions_test SOURCES token_permissions_test.c LIBS latchkey::token)
lk_token_test(claims_map_test SOURCES claims_map_test.c LIBS latchkey::verify)
lk_unit_test(grant_test SOURCES grant_test.c LIBS latchkey::token)
lk_unit_test(grant_random_test SOURCES grant_random_test.c LIBS latchkey::token)
if(TARGET dep::jansson)
  lk_unit_test(topic_test SOURCES topic_test.c LIBS latchkey::token dep::jansson)
endif()

# lk_replay comes with token_core.cmake, which is included before.
lk_replay(policy LIBS latchkey::token)
lk_replay(topic LIBS latchkey::token)
lk_replay(grant LIBS latchkey::token)
