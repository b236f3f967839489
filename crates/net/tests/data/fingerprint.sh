#!/bin/sh
# Makes certificate.pem (self-signed, of an RSA key, so another algorithm than development identities use) and
# certificate.sha256 (SHA-256 of its SubjectPublicKeyInfo), all with the openssl command.
set -eu
cd "$(dirname "$0")"
openssl req -x509 -newkey rsa:2048 -nodes -days 36500 -subj "/CN=oblivia test vector" \
    -keyout /dev/null -out certificate.pem 2> /dev/null
openssl x509 -in certificate.pem -noout -pubkey | openssl pkey -pubin -outform der \
    | openssl dgst -sha256 -r | cut -d' ' -f1 > certificate.sha256
