#!/usr/bin/env bash
# Makes an authority and one certificate for a Dask cluster, and a file that has Dask use them for everything it says.
#
#   certificates.sh FOLDER     then, wherever scheduler, workers and geoseg run:  . FOLDER/tls.sh
#
# Whoever reaches a port of a Dask cluster without this can run code on it. The folder has to be on the disk that all
# machines share, and readable by its owner only; who has it belongs to the cluster.
set -euo pipefail
folder=${1:?usage: certificates.sh FOLDER}
umask 077
mkdir -p "$folder"
cd "$folder"
openssl req -x509 -newkey rsa:3072 -nodes -days 825 -keyout authority.key -out authority.pem -subj "/CN=geoseg cluster" \
    -addext "basicConstraints=critical,CA:TRUE" -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
openssl req -newkey rsa:3072 -nodes -keyout node.key -out node.csr -subj "/CN=geoseg node" 2>/dev/null
printf '%s\n' "basicConstraints=CA:FALSE" "keyUsage=critical,digitalSignature,keyEncipherment" \
    "extendedKeyUsage=serverAuth,clientAuth" > node.ext
openssl x509 -req -in node.csr -CA authority.pem -CAkey authority.key -CAcreateserial -days 825 -extfile node.ext \
    -out node.pem 2>/dev/null
rm -f node.csr node.ext authority.srl authority.key # no further certificate is ever made with it
here=$(pwd -P)
{
    echo "export DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION=True"
    echo "export DASK_DISTRIBUTED__COMM__TLS__CA_FILE='$here/authority.pem'"
    for who in SCHEDULER WORKER CLIENT; do
        echo "export DASK_DISTRIBUTED__COMM__TLS__${who}__CERT='$here/node.pem'"
        echo "export DASK_DISTRIBUTED__COMM__TLS__${who}__KEY='$here/node.key'"
    done
} > tls.sh
echo "certificates are in $here; use them with: . '$here/tls.sh'"
