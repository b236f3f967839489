"""Writes tls12_client_hello.bin: the first bytes of a client that offers TLS 1.2 at most (Python's ssl)."""

import pathlib
import ssl
import warnings

warnings.simplefilter("ignore")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.minimum_version = ssl.TLSVersion.TLSv1_2
context.maximum_version = ssl.TLSVersion.TLSv1_2
context.set_alpn_protocols(["oblivia/2"])
incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
try:
    context.wrap_bio(incoming, outgoing, server_hostname="localhost").do_handshake()
except ssl.SSLWantReadError:
    pass
pathlib.Path(__file__).with_suffix(".bin").write_bytes(outgoing.read())
