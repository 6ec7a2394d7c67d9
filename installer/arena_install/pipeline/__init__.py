"""The arrows joined: every verb is a prefix of inventory -> probe -> plan -> apply -> stack -> verify."""
