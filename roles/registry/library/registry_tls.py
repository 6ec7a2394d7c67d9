#!/usr/bin/python
"""A certificate authority of the cluster's own, and with it the registry's certificate.

The authority's key is made here and never leaves the host. The server's certificate is made anew when it does not
carry the wanted addresses, was not signed by this authority, or ends within RENEW_DAYS; the authority only when it is
missing or does not belong to its key, because every host trusts it. Its own certificate is made again from its key.
"""

import grp
import os
import re
import subprocess

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: registry_tls
short_description: certificate authority and server certificate, by openssl
options:
  folder: {type: path, required: true}
  addresses: {type: list, elements: str, required: true}
  names: {type: list, elements: str, required: true}
  common_name: {type: str, required: true}
  group: {type: str, required: true, description: group that may read the server's key}
"""

DAYS = 3650
RENEW_DAYS = 60


class Tls:
    def __init__(self, given):
        self.folder = given["folder"]
        self.names = sorted("DNS:" + name.lower() for name in given["names"])
        self.names += sorted("IP Address:" + address for address in given["addresses"])
        self.common_name = given["common_name"][:60]
        self.group = grp.getgrnam(given["group"]).gr_gid

    def path(self, name):
        return os.path.join(self.folder, name)

    def openssl(self, *arguments):
        done = subprocess.run(["openssl"] + list(arguments), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise OSError("openssl {0}: {1}".format(arguments[0], done.stderr.strip()))
        return done.stdout

    def has_authority(self):
        return self.matches("ca.key", "ca.crt")

    def matches(self, key, certificate):
        try:
            public = self.openssl("pkey", "-in", self.path(key), "-pubout")
            return public == self.openssl("x509", "-in", self.path(certificate), "-noout", "-pubkey")
        except OSError:
            return False

    def is_good(self):
        try:
            text = self.openssl("x509", "-in", self.path("tls.crt"), "-noout", "-ext", "subjectAltName")
            self.openssl("x509", "-in", self.path("tls.crt"), "-noout", "-checkend", str(RENEW_DAYS * 86400))
            self.openssl("verify", "-CAfile", self.path("ca.crt"), self.path("tls.crt"))
        except OSError:
            return False
        found = re.findall(r"(?:DNS|IP Address):[^,\s]+", text)
        return sorted(found) == sorted(self.names) and self.matches("tls.key", "tls.crt")

    def new_key(self, name):
        self.openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", self.path(name))

    def make_authority(self):
        try:
            self.openssl("pkey", "-in", self.path("ca.key"), "-noout")
        except OSError:
            self.new_key("ca.key.new")
            os.replace(self.path("ca.key.new"), self.path("ca.key"))
        self.openssl(
            "req", "-x509", "-new", "-key", self.path("ca.key"), "-days", str(DAYS), "-sha256",
            "-subj", "/CN=" + self.common_name + " CA", "-out", self.path("ca.crt.new"),
            "-addext", "keyUsage=critical,keyCertSign,cRLSign",
        )  # fmt: skip
        self.publish("ca.crt")

    def make_certificate(self):
        self.new_key("tls.key.new")
        request, extensions = self.path("tls.csr"), self.path("tls.ext")
        self.openssl(
            "req", "-new", "-key", self.path("tls.key.new"), "-subj", "/CN=" + self.common_name, "-out", request
        )
        with open(extensions, "w") as out:
            names = ",".join(name.replace("IP Address:", "IP:") for name in self.names)
            out.write("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n")
            out.write("extendedKeyUsage=serverAuth\nsubjectAltName=" + names + "\n")
        self.openssl(
            "x509", "-req", "-in", request, "-CA", self.path("ca.crt"), "-CAkey", self.path("ca.key"),
            "-days", str(DAYS), "-sha256", "-set_serial", "0x" + os.urandom(16).hex(),
            "-extfile", extensions, "-out", self.path("tls.crt.new"),
        )  # fmt: skip
        os.unlink(request)
        os.unlink(extensions)
        os.chown(self.path("tls.key.new"), 0, self.group)
        os.chmod(self.path("tls.key.new"), 0o640)
        os.replace(self.path("tls.key.new"), self.path("tls.key"))
        self.publish("tls.crt")

    def publish(self, name):
        os.chmod(self.path(name + ".new"), 0o644)
        os.replace(self.path(name + ".new"), self.path(name))

    def make_folder(self):
        os.makedirs(os.path.dirname(self.folder), mode=0o755, exist_ok=True)
        os.chmod(os.path.dirname(self.folder), 0o755)
        os.makedirs(self.folder, exist_ok=True)
        os.chown(self.folder, 0, self.group)
        os.chmod(self.folder, 0o750)


def main():
    module = AnsibleModule(
        argument_spec={
            "folder": {"type": "path", "required": True},
            "addresses": {"type": "list", "elements": "str", "required": True},
            "names": {"type": "list", "elements": "str", "required": True},
            "common_name": {"type": "str", "required": True},
            "group": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o077)
    made = []
    try:
        tls = Tls(module.params)
        if not tls.has_authority():
            made.append("ca.crt")
        if made or not tls.is_good():
            made.append("tls.crt")
        if made and not module.check_mode:
            tls.make_folder()
            if "ca.crt" in made:
                tls.make_authority()
            tls.make_certificate()
    except (OSError, KeyError) as error:
        if not (
            module.check_mode and isinstance(error, KeyError)
        ):  # the package that brings the group is not there yet
            module.fail_json(msg=str(error), made=made)
    module.exit_json(changed=bool(made), made=made)


if __name__ == "__main__":
    main()
