"""The judge before his own judges: published tokens, and answers that are wrong in one place."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

try:
    import jwt
    import pytest
    from cryptography.hazmat.primitives.asymmetric import ec

    from judge import Refused, agrees, judge, x
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

VECTORS = Path(__file__).parent.parent / "vectors"
RFC8392 = json.loads((VECTORS / "cwt/rfc8392_appendix_a.json").read_text())
JWT = json.loads((VECTORS / "jose/jwt_validator_cases.json").read_text())


def rfc8392_key():
    px, py = (int(text, 16) for text in (
        "143329cce7868e416927599cf65a34f3ce2ffda55a7eca69ed8919a394d42f0f",
        "60f7f1a780d8a783bfb7a2dd6b2796e8128dbbcef9d3d168db9529971a36e7b9",
    ))  # fmt: skip
    public = ec.EllipticCurvePublicNumbers(px, py, ec.SECP256R1()).public_key()
    return SimpleNamespace(alg="ES256", kid=b"AsymmetricECDSA256", public=public)


def settings(issuer, audience, now, keys, typ=None, own=False):
    issuer = SimpleNamespace(url=issuer, own=own, typ=typ, keys=keys)
    return SimpleNamespace(issuers=[issuer], audience=audience, now=now, leeway=0)


def rfc8392_settings(now=1444064943, own=False):
    return settings("coap://as.example.com", "coap://light.example.com", now, [rfc8392_key()],
                    own=own)  # fmt: skip


SIGNED = bytes.fromhex(RFC8392["tests"]["A.3"]["cwt"])


def test_signed_cwt_of_rfc_8392_is_taken_and_read():
    claims = judge(rfc8392_settings(), SIGNED).claims
    assert (claims["sub"], claims["exp"], claims["nbf"]) == ("erikw", 1444064944, 1443944944)
    assert (claims["id"], claims["cnf"]) == (bytes.fromhex("0b71"), "none")


@pytest.mark.parametrize(
    "change, error",
    [
        (dict(now=1444064944), "EXPIRED"),
        (dict(now=1443944943), "NOT_YET"),
        (dict(own=True), "FORM"),
    ],
)
def test_signed_cwt_of_rfc_8392_is_refused(change, error):
    with pytest.raises(Refused) as refused:
        judge(rfc8392_settings(**change), SIGNED)
    assert error in refused.value.errors


def is_taken(data):
    try:
        judge(rfc8392_settings(), data)
        return True
    except Refused:
        return False


def test_no_byte_of_what_is_signed_can_be_changed():
    bucket = SIGNED.index(b"\xa1\x04\x52AsymmetricECDSA256")  # unprotected: nobody signed it
    for at, byte in enumerate(SIGNED):
        changed = SIGNED[:at] + bytes([byte ^ 1]) + SIGNED[at + 1 :]
        assert not is_taken(changed) or bucket <= at < bucket + 21


def jwt_keys():
    readers = {"EC": jwt.algorithms.ECAlgorithm, "OKP": jwt.algorithms.OKPAlgorithm}
    return [SimpleNamespace(alg=k["alg"], kid=k["kid"].encode(),
                            public=readers[k["kty"]].from_jwk(json.dumps(k)))
            for k in JWT["jwks"]["keys"]]  # fmt: skip


@pytest.mark.parametrize("case", JWT["tests"], ids=lambda case: case["name"])
def test_validator_cases(case):
    if "RFC 9068" in case["result"] or "cnf" in case["name"]:
        pytest.skip("left to the caller of lk_token_verify")
    config = settings(JWT["issuer"], JWT["audience"], JWT["now"], jwt_keys(), typ="at+jwt")
    try:
        judge(config, case["jwt"].encode())
        verdict = "accept"
    except Refused:
        verdict = "reject"
    assert case["result"].startswith(verdict)


def right_line(token):
    c = token.claims
    fields = {"alg": "ES256", "kid": x(token.kid), "typ": "-", "own": "0", "format": "cwt"}
    for name, value in c.items():
        fields[name] = x(value) if value is None or isinstance(value, (str, bytes)) else str(value)
    fields.update(aud=x(c["aud"][0]), children="", cnf="none", gen="-")
    return fields


def test_one_wrong_field_is_seen():
    token = judge(rfc8392_settings(), SIGNED)
    fields = right_line(token)
    line = "A " + " ".join(f"{k}={v}" for k, v in fields.items())
    assert agrees(token, line) == []
    for name in fields:
        other = "A " + " ".join(f"{k}={'x00' if k == name else v}" for k, v in fields.items())
        assert len(agrees(token, other)) == 1, name
    assert agrees(token, "E EXPIRED") == ["accepted by the judge"]


if __name__ == "__main__":
    sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", __file__]))
