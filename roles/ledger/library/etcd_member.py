#!/usr/bin/python
"""etcd's members, asked for on a control plane through etcd's own JSON gateway: hosts have no etcdctl.

kubeadm's reset takes a member out itself while its host answers; one whose host is dead would stay, and count for the
majority for ever.
"""

import http.client
import json
import ssl

from ansible.module_utils.basic import AnsibleModule

DOCUMENTATION = """
module: etcd_member
short_description: take members out of etcd
options:
  absent: {type: list, elements: str, required: true, description: names of members, which are those of their nodes}
"""

PKI = "/etc/kubernetes/pki/etcd/"


def call(path, body):
    """etcd's answer, decoded. Raises OSError where it does not answer, ValueError where it refuses."""
    context = ssl.create_default_context(cafile=PKI + "ca.crt")
    context.load_cert_chain(PKI + "server.crt", PKI + "server.key")
    connection = http.client.HTTPSConnection("127.0.0.1", 2379, context=context, timeout=30)
    try:
        connection.request("POST", "/v3/cluster/member/" + path, body=json.dumps(body))
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError("etcd answered {0}: {1}".format(answer.status, text.strip()))
    return json.loads(text)


def main():
    module = AnsibleModule(
        argument_spec={"absent": {"type": "list", "elements": "str", "required": True}}, supports_check_mode=True
    )
    try:
        members = call("list", {}).get("members", [])
        gone = [member for member in members if member.get("name") in module.params["absent"]]
        for member in gone if not module.check_mode else []:
            call("remove", {"ID": member["ID"]})
    except (OSError, ValueError) as error:
        module.fail_json(msg="members of etcd can't be taken out: {0}".format(error))
    module.exit_json(changed=bool(gone), removed=[member["name"] for member in gone])


if __name__ == "__main__":
    main()
