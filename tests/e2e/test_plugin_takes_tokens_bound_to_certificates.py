"""A token with x5t#S256, or jkt of the certificate's key, is good with that TLS client certificate."""

import base64
import datetime
import hashlib
import json
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

import ace
import installation
import mqtt_raw
import tokens
from mqtt_raw import CONNACK, DISCONNECT, SESSION_EXPIRY, V5, V311, Closed

KEYS = {"P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
        "Ed25519": ed25519.Ed25519PrivateKey.generate,
        "RSA": lambda: rsa.generate_private_key(65537, 2048)}


def number(n):
    return tokens.b64(n.to_bytes((n.bit_length() + 7) // 8, "big"))


def jwk(public):
    if isinstance(public, ec.EllipticCurvePublicKey):
        n = public.public_numbers()
        return {"crv": "P-256", "kty": "EC", "x": tokens.b64(n.x.to_bytes(32, "big")),
                "y": tokens.b64(n.y.to_bytes(32, "big"))}
    if isinstance(public, rsa.RSAPublicKey):
        n = public.public_numbers()
        return {"e": number(n.e), "kty": "RSA", "n": number(n.n)}
    raw = public.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
    return {"crv": "Ed25519", "kty": "OKP", "x": tokens.b64(raw)}


class Authority:
    def __init__(self, folder):
        self.folder, self.count = folder, 0
        folder.mkdir()
        self.key = KEYS["P-256"]()
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test CA")])
        self.ca = folder / "ca.crt"
        self.certificate = self.make(self.key.public_key(), self.name, authority=True)
        self.ca.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def make(self, public, subject, authority=False):
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
                   .public_key(public).serial_number(x509.random_serial_number())
                   .not_valid_before(now - datetime.timedelta(hours=1))
                   .not_valid_after(now + datetime.timedelta(days=1))
                   .add_extension(x509.BasicConstraints(authority, None), True))
        if not authority:
            import ipaddress
            builder = builder.add_extension(x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, key, name="client"):
        """@return Identity"""
        self.count += 1
        made = self.make(key.public_key(),
                         x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        return Identity(self, self.folder / f"{self.count}", key, made)


class Identity:
    def __init__(self, authority, path, key, certificate):
        self.authority, self.path, self.certificate = authority, path, certificate
        self.jwk = jwk(key.public_key())
        path.with_suffix(".key").write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        path.with_suffix(".crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    @property
    def x5t(self):
        der = self.certificate.public_bytes(serialization.Encoding.DER)
        return {"x5t#S256": tokens.b64(hashlib.sha256(der).digest())}

    @property
    def jkt(self):
        text = json.dumps(self.jwk, sort_keys=True, separators=(",", ":"))
        return {"jkt": tokens.b64(hashlib.sha256(text.encode()).digest())}

    def tls(self):
        context = ssl.create_default_context(cafile=str(self.authority.ca))
        context.load_cert_chain(self.path.with_suffix(".crt"), self.path.with_suffix(".key"))
        return context


class Site:
    def __init__(self, folder):
        self.authority = Authority(folder / "pki")
        server = self.authority.issue(KEYS["P-256"](), "broker")
        self.tls_port, self.open_port = installation.free_ports(2), None
        self.open_port = self.tls_port + 1
        common = (f"cafile {self.authority.ca}\ncertfile {server.path}.crt\n"
                  f"keyfile {server.path}.key\n")
        self.broker = installation.Broker(
            folder / "broker", ["leeway 0"],
            config=f"listener {self.tls_port} 127.0.0.1\n{common}require_certificate true\n"
                   f"listener {self.open_port} 127.0.0.1\n{common}").start()

    def client(self, who, version=V5):
        return mqtt_raw.Client(self.tls_port, version, tls=who.tls())


@pytest.fixture(scope="module")
def site(workdir):
    folder = workdir / "certificates"
    folder.mkdir()
    s = Site(folder)
    yield s
    s.broker.stop()


@pytest.fixture(scope="module")
def people(site):
    return {kind: site.authority.issue(make()) for kind, make in KEYS.items()}


@pytest.mark.parametrize("claim", ["x5t", "jkt"])
@pytest.mark.parametrize("version", [V311, V5], ids=["mqtt311", "mqtt5"])
@pytest.mark.parametrize("kind", KEYS)
def test_with_its_certificate(site, people, kind, version, claim):
    b, who = site.broker, people[kind]
    with site.client(who, version) as c:
        assert c.connect("sensor-1", b.jwt(cnf=getattr(who, claim))).code == 0
        assert c.publish("devices/sensor-1/telemetry", "x") == 0


def test_by_enhanced_authentication(site, people):
    b, who = site.broker, people["P-256"]
    with site.client(who) as c:
        assert c.connect_by_auth("sensor-1", "OAUTH2-JWT", b.jwt(cnf=who.x5t)).code == 0
        assert c.reauthenticate("OAUTH2-JWT", b.jwt(cnf=who.x5t)).code == 0


P256, ED = "P-256", "Ed25519"
OTHERS = {
    "another's certificate": lambda people: people[ED].x5t,
    "another's key": lambda people: people[ED].jkt,
    "the key's thumbprint as the certificate's": lambda people: {
        "x5t#S256": people[P256].jkt["jkt"]},
    "the certificate's thumbprint as the key's": lambda people: {
        "jkt": people[P256].x5t["x5t#S256"]},
    "zeroes": lambda people: {"x5t#S256": tokens.b64(bytes(32))},
    "the key itself": lambda people: {"jwk": people[P256].jwk},
    "a kid": lambda people: {"kid": tokens.b64(b"k" * 8)},
    "something unknown": lambda people: {"x5u": "https://x.test"},
}


@pytest.mark.parametrize("row", OTHERS)
def test_with_another(site, people, row):
    b, mark = site.broker, site.broker.log.mark()
    with site.client(people[P256]) as c:
        assert c.connect("sensor-1", b.jwt(cnf=OTHERS[row](people))).code == 0x87
    b.log.wait(r"refused login .*method=password reason=BOUND", mark)


def test_a_new_certificate_for_the_same_key(site, people):
    b, key = site.broker, KEYS["P-256"]()
    old, new = site.authority.issue(key), site.authority.issue(key)
    with site.client(new) as c:
        assert c.connect("sensor-1", b.jwt(cnf=old.x5t)).code == 0x87
    with site.client(new) as c:
        assert c.connect("sensor-1", b.jwt(cnf=old.jkt)).code == 0


def test_without_tls_or_without_a_certificate(site, people):
    b, who = site.broker, people["P-256"]
    for cnf in (who.x5t, who.jkt):
        with b.client() as c:
            assert c.connect("sensor-1", b.jwt(cnf=cnf)).code == 0x87
        # This listener asks for none, so the client's is never shown.
        with mqtt_raw.Client(site.open_port, V5, tls=who.tls()) as c:
            assert c.connect("sensor-1", b.jwt(cnf=cnf)).code == 0x87


def test_a_bearer_token_is_one_over_tls_too(site, people):
    with site.client(people["P-256"]) as c:
        assert c.connect("sensor-1", site.broker.jwt()).code == 0


RENEWALS = {
    "the same certificate": (True, lambda b, w, o: b.jwt(cnf=w.x5t)),
    "a bearer token": (False, lambda b, w, o: b.jwt()),
    "another certificate": (False, lambda b, w, o: b.jwt(cnf=o.x5t)),
    "its key, where it was the certificate": (False, lambda b, w, o: b.jwt(cnf=w.jkt)),
    "a key of its own": (False, lambda b, w, o: b.jwt(cnf=ace.Ed25519().jwt_cnf())),
}


@pytest.mark.parametrize("row", RENEWALS)
@pytest.mark.parametrize("road", ["authz-info", "AUTH"])
def test_renewal(site, people, row, road):
    b, who, other = site.broker, people["P-256"], people["Ed25519"]
    good, make = RENEWALS[row]
    mark = b.log.mark()
    with site.client(who) as c:
        end = int(time.time()) + 60
        if road == "authz-info":
            assert c.connect("sensor-1", b.jwt(cnf=who.x5t, exp=end)).code == 0
            c.publish("authz-info", make(b, who, other))
            assert json.loads(c.message().payload)["ok"] is good
            assert c.publish("devices/sensor-1/telemetry", "x") == 0
        else:
            assert c.connect_by_auth("sensor-1", "OAUTH2-JWT", b.jwt(cnf=who.x5t, exp=end)).code == 0
            try:
                got = c.reauthenticate("OAUTH2-JWT", make(b, who, other))
                assert (got.code == 0) is good
                assert good or got.kind in (DISCONNECT, CONNACK)
            except Closed:
                assert not good
    if not good:
        b.log.wait(r"refused renewal .*reason=BOUND", mark)


def test_renewal_never_binds_what_was_not(site, people):
    b, who = site.broker, people["P-256"]
    with site.client(who) as c:
        assert c.connect("sensor-1", b.jwt()).code == 0
        c.publish("authz-info", b.jwt(cnf=who.x5t))
        assert json.loads(c.message().payload) == {"ok": False, "reason": "BOUND"}


def test_a_sleeping_session_and_sighup(site, people):
    b, who = site.broker, people["P-256"]
    token = b.jwt(cnf=who.x5t)
    with site.client(who) as c:
        assert c.connect("sensor-1", token, clean=False, props={SESSION_EXPIRY: 60}).code == 0
        c.subscribe("devices/sensor-1/config/#")
    b.reload()
    time.sleep(0.5)
    with b.connected("manager-1", b.jwt("manager-1", scope="config:write",
                                        device_type=None)) as manager:
        manager.publish("devices/sensor-1/config/a", "1")
    with site.client(people["Ed25519"]) as c:
        assert c.connect("sensor-1", token, clean=False).code == 0x87
    with site.client(who) as c:
        ack = c.connect("sensor-1", token, clean=False, props={SESSION_EXPIRY: 0})
        assert ack.code == 0 and ack.session_present and c.message().payload == b"1"
