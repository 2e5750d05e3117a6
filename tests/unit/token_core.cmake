# The core of the token library. Some tests look behind its headers, so they see token/ itself.
function(lk_token_test name)
  lk_unit_test(${name} ${ARGN})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}/token")
endfunction()

lk_token_test(bytes_test SOURCES bytes_test.c LIBS latchkey::token)
lk_token_test(cbor_test SOURCES cbor_test.c LIBS latchkey::token)
lk_token_test(cwt_test SOURCES cwt_test.c crypto_fake.c LIBS latchkey::token)
lk_token_test(json_test SOURCES json_test.c LIBS latchkey::token)
lk_token_test(json_random_test SOURCES json_random_test.c LIBS latchkey::token)
lk_token_test(base64url_test SOURCES base64url_test.c LIBS latchkey::token)
lk_token_test(claims_jwt_test SOURCES claims_jwt_test.c LIBS latchkey::verify)
lk_token_test(keys_test SOURCES keys_test.c LIBS latchkey::verify)
lk_token_test(crypto_openssl_test SOURCES crypto_openssl_test.c
  LIBS latchkey::verify dep::openssl Threads::Threads)
if(TARGET dep::jansson)
  lk_token_test(token_vectors_test SOURCES token_vectors_test.c LIBS latchkey::verify dep::jansson)
endif()
lk_token_test(token_test SOURCES token_test.c LIBS latchkey::verify)
lk_token_test(token_encrypted_test SOURCES token_encrypted_test.c
  LIBS latchkey::verify dep::openssl)
lk_token_test(cnf_test SOURCES cnf_test.c LIBS latchkey::verify dep::openssl)
lk_token_test(token_fail_test SOURCES token_fail_test.c crypto_fake.c LIBS latchkey::token)

# Flash and stack of a CWT reader on a Cortex-M4 stay under their limits.
add_test(NAME token_sizes COMMAND "${PROJECT_SOURCE_DIR}/token/sizes" --check)
set_tests_properties(token_sizes PROPERTIES SKIP_RETURN_CODE 77)

# lk_replay(name [SOURCE...] LIBS ...): the corpus of a fuzz target as a plain test.
function(lk_replay name)
  lk_unit_test(${name}_corpus_test SOURCES ../fuzz/${name}_fuzz.c ../fuzz/replay.c ${ARGN})
  target_include_directories(${name}_corpus_test PRIVATE
    "${CMAKE_CURRENT_SOURCE_DIR}/fuzz" "${PROJECT_SOURCE_DIR}/token")
  target_compile_definitions(${name}_corpus_test PRIVATE
    LK_CORPUS_DIR="${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${name}")
endfunction()

lk_replay(cbor LIBS latchkey::token)
lk_replay(json LIBS latchkey::token)
lk_replay(jwk LIBS latchkey::verify)
lk_replay(token LIBS latchkey::verify)
foreach(name cose cwt jwt)
  lk_replay(${name} ../fuzz/trusted.c LIBS latchkey::verify)
endforeach()
