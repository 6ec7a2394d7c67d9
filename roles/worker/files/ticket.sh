# Prints a token that is good for a quarter of an hour, and the digest by which a joining host knows the right authority.
export KUBECONFIG=/etc/kubernetes/admin.conf PATH=$PATH:/usr/local/bin
kubeadm token create --ttl 15m --description "arena-install: join"
openssl x509 -pubkey -noout -in /etc/kubernetes/pki/ca.crt | openssl pkey -pubin -outform der | sha256sum | sed 's/ .*//; s/^/sha256:/'
