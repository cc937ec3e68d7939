#!/bin/sh
# An authority of your own, and a certificate by it for one client: who has none is not served.
#
#   sh mtls.sh /etc/mysite/clients alice
#
# makes clients.pem (the authority, for the server), clients.key (hers: keep it elsewhere, not on the
# server), alice.pem and alice.key (for the client). Called again with another name it makes another
# client's by the same authority. Then:
#
#   wsgi-async mysite.wsgi:application --bind :8443 --certfile cert.pem --keyfile key.pem \
#       --ca-certs /etc/mysite/clients/clients.pem --cert-reqs required
#   curl --cert alice.pem --key alice.key https://mysite.example:8443/
#
# The application finds SSL_CLIENT_VERIFY, SSL_CLIENT_S_DN (CN=alice) and SSL_CLIENT_CERT in its environ.
# Lists of revoked certificates are not looked at: so a client's is valid for a month here, and a
# program has to bring a new one in time. With smallstep's `step ca` the authority is a service that
# does so; clients.pem is its root certificate then.
set -eu

directory=$1
client=$2
mkdir -p "$directory"
cd "$directory"
umask 077

key="-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

if [ ! -e clients.pem ]; then
    # shellcheck disable=SC2086
    openssl req -x509 $key -days 3650 -subj "/CN=Clients of mysite.example" \
        -addext "basicConstraints=critical,CA:TRUE,pathlen:0" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" \
        -keyout clients.key -out clients.pem 2>/dev/null
fi

# shellcheck disable=SC2086
openssl req $key -subj "/CN=$client" -keyout "$client.key" -out "$client.csr" 2>/dev/null
printf 'basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=clientAuth\n' \
    >"$client.ext"
openssl x509 -req -in "$client.csr" -CA clients.pem -CAkey clients.key -CAcreateserial \
    -days 30 -extfile "$client.ext" -out "$client.pem" 2>/dev/null
rm "$client.csr" "$client.ext"
# Only keys are secret.
chmod 644 clients.pem "$client.pem"
