"""Other people's libraries read our tokens, get them, and speak to our endpoints."""

import time

import jwt as pyjwt
import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session

import tokens


@pytest.fixture(scope="module")
def sensor(stack):
    return stack.device("sensor")


def verified(stack, token, **options):
    header = pyjwt.get_unverified_header(token)
    key = next(k for k in stack.jwks() if k["kid"] == header["kid"])
    return pyjwt.decode(token, pyjwt.PyJWK(key).key, algorithms=["ES256"], **options)


def test_pyjwt_verifies_our_jwt_with_our_jwks(stack, sensor):
    token = sensor.token()
    header = pyjwt.get_unverified_header(token)
    assert (header["alg"], header["typ"]) == ("ES256", "at+jwt")
    body = verified(stack, token, audience="mqtt", issuer=stack.url,
                    options={"require": ["iss", "sub", "aud", "exp", "iat", "jti"]})
    assert body["sub"] == body["client_id"] == sensor.id
    assert body["dty"] == "sensor"
    assert set(body["scope"].split()) == {"telemetry:send", "config:read"}
    assert len(tokens.unb64(body["jti"])) == 16
    assert body["exp"] - body["iat"] == 3600
    assert abs(body["iat"] - time.time()) < 30
    with pytest.raises(pyjwt.InvalidAudienceError):
        verified(stack, token, audience="coap")


def test_cbor2_and_cryptography_verify_our_cwt(stack, sensor):
    answer = stack.post_token(sensor.id, sensor.secret, token_format="cwt").json()
    assert answer["token_type"].lower() == "bearer"
    raw = tokens.unb64(answer["access_token"])
    body = tokens.verify_cwt(raw, next(k for k in stack.jwks() if k["alg"] == "ES256"))
    assert body[tokens.ISS] == stack.url and body[tokens.SUB] == sensor.id
    assert body[tokens.AUD] == "mqtt" and len(body[tokens.CTI]) == 16
    assert set(body[tokens.SCOPE].split()) == {"telemetry:send", "config:read"}
    assert body["dty"] == "sensor" and body[tokens.EXP] - body[tokens.IAT] == 3600
    print(f"the same sensor token: JWT {len(sensor.token())} bytes, CWT {len(raw)} bytes")


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_authlib_gets_a_token(stack, sensor, method):
    with OAuth2Session(sensor.id, sensor.secret, token_endpoint_auth_method=method) as session:
        session.verify = stack.ca
        token = session.fetch_token(stack.url + "/oauth/token", grant_type="client_credentials",
                                    verify=stack.ca)
        assert verified(stack, token["access_token"], audience="mqtt")["sub"] == sensor.id
        assert token["token_type"].lower() == "bearer" and token["expires_in"] == 3600
        fresh = session.refresh_token(stack.url + "/oauth/token", token["refresh_token"],
                                      verify=stack.ca)
        assert fresh["refresh_token"] != token["refresh_token"]


def test_the_metadata_tells_the_truth(stack):
    answer = requests.get(stack.url + "/.well-known/oauth-authorization-server",
                          verify=stack.ca, timeout=10).json()
    assert answer["issuer"] == stack.url
    assert answer["token_endpoint"] == stack.url + "/oauth/token"
    assert answer["jwks_uri"] == stack.url + "/.well-known/jwks.json"
    assert {"client_credentials", "refresh_token"} <= set(answer["grant_types_supported"])
    assert {"client_secret_basic", "client_secret_post"} <= \
        set(answer["token_endpoint_auth_methods_supported"])


def test_the_jwks_shows_public_parts_only(stack):
    for key in stack.jwks():
        assert set(key) & {"d", "k", "p", "q"} == set()
        assert key["use"] == "sig" and key["kid"]


ERRORS = {
    "wrong secret": (dict(secret="A" * 43), 401, "invalid_client"),
    "unknown client": (dict(client="nobody"), 401, "invalid_client"),
    "unknown grant": (dict(grant_type="password"), 400, "unsupported_grant_type"),
    "no grant": (dict(grant_type=""), 400, "invalid_request|unsupported_grant_type"),
    "scope it does not have": (dict(scope="devices:write"), 400, "invalid_scope"),
    "scope that is none": (dict(scope="\"\\"), 400, "invalid_scope"),
    "audience it may not have": (dict(audience="moon"), 400, "invalid_target|invalid_request"),
    "a refresh token that is none": (dict(grant_type="refresh_token", refresh_token="abc"), 400,
                                     "invalid_grant"),
    "no refresh token": (dict(grant_type="refresh_token"), 400, "invalid_request"),
    "a life without length": (dict(expires_in="0"), 400, "invalid_request"),
    "a life that is no number": (dict(expires_in="soon"), 400, "invalid_request"),
    "a format nobody knows": (dict(token_format="xml"), 400, "invalid_request"),
}


@pytest.mark.parametrize("row", ERRORS)
def test_errors_are_those_of_oauth(stack, sensor, row):
    form, status, error = ERRORS[row]
    form = dict(form)
    client, secret = form.pop("client", sensor.id), form.pop("secret", sensor.secret)
    answer = stack.post_token(client, secret, **form)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"] in error.split("|")
    assert answer.headers["Cache-Control"] == "no-store"
    if status == 401:
        assert answer.headers["WWW-Authenticate"].startswith("Basic")


def test_a_token_may_be_asked_for_less(stack, sensor):
    answer = stack.post_token(sensor.id, sensor.secret, scope="telemetry:send",
                              expires_in="60").json()
    body = verified(stack, answer["access_token"], audience="mqtt")
    assert body["scope"] == "telemetry:send" and body["exp"] - body["iat"] == 60
    assert answer["expires_in"] == 60 and answer.get("scope", "telemetry:send") == "telemetry:send"


def test_a_token_by_cbor(stack, sensor):
    """RFC 9200 section 5.8: application/ace+cbor in, application/ace+cbor out."""
    import cbor2
    scope, client_id, client_secret, grant, client_credentials = 9, 24, 25, 33, 2
    answer = requests.post(
        stack.url + "/oauth/token", verify=stack.ca, timeout=10,
        headers={"Content-Type": "application/ace+cbor"},
        data=cbor2.dumps({grant: client_credentials, client_id: sensor.id,
                          client_secret: sensor.secret.encode(), scope: "telemetry:send"}))
    assert answer.status_code == 200, answer.content
    assert answer.headers["Content-Type"] == "application/ace+cbor"
    body = cbor2.loads(answer.content)
    access_token, expires_in = 1, 2
    claims = tokens.verify_cwt(body[access_token], stack.jwks()[0])
    assert claims[tokens.SUB] == sensor.id and claims[tokens.SCOPE] == "telemetry:send"
    assert body[expires_in] == 3600
    for wrong in (b"", b"\xa1", b"\xff", cbor2.dumps([1]), cbor2.dumps({grant: "x"}),
                  cbor2.dumps({grant: 2, client_id: sensor.id, client_secret: b"A" * 43}),
                  b"\xbf" * 2000, b"\x9f" * 2000):
        answer = requests.post(stack.url + "/oauth/token", verify=stack.ca, timeout=10, data=wrong,
                               headers={"Content-Type": "application/ace+cbor"})
        assert answer.status_code in (400, 401), wrong


def test_only_devices_get_refresh_tokens(stack, sensor):
    assert "refresh_token" in stack.post_token(sensor.id, sensor.secret).json()
    monitor = stack.post_token(*stack.credentials("monitor")).json()
    assert "access_token" in monitor and "refresh_token" not in monitor


def test_unknown_parameters_are_ignored_and_doubled_ones_refused(stack, sensor):
    assert stack.post_token(sensor.id, sensor.secret, colour="red").status_code == 200
    answer = requests.post(stack.url + "/oauth/token", auth=(sensor.id, sensor.secret),
                           data=[("grant_type", "client_credentials")] * 2, verify=stack.ca,
                           timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
