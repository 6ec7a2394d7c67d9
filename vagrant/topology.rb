# What machines there are, from the same `lab:` of a cluster.yaml that the container lab is made of: the same names, and
# last bytes of addresses that depend on a machine's number alone. The inventory is written for those that run.

require "shellwords"
require "yaml"

module Topology
  Machine = Struct.new(:name, :role, :address)

  SUBNET = "192.168.56" # the one that VirtualBox lets everybody use
  NAME = /\A[a-z]([-a-z0-9]{0,30}[a-z0-9])?\z/
  # role => [short name, last byte of the first one's address, how many if nothing is said, which numbers are good]
  ROLES = {
    "control_plane" => ["cp", 11, 1, [1, 3, 5]],
    "worker" => ["w", 21, 2, (0..50)],
  }.freeze

  class Mistake < StandardError; end

  module_function

  # file: path of a cluster.yaml, which may lack `lab:`. Raises Mistake with the file and what was expected.
  def machines(file, name)
    raise Mistake, "ARENA_LAB: a lab can't be named #{name.inspect}: 1-32 lower-case letters, digits, dashes" unless name =~ NAME

    lab = read(file)
    ROLES.flat_map do |role, (short, first, default, good)|
      count = lab.fetch("#{role}s", default)
      unless count.is_a?(Integer) && good.include?(count)
        expected = good.is_a?(Range) ? "#{good.min} to #{good.max}" : good.join(", ")
        raise Mistake, "#{file}: lab.#{role}s is #{count.inspect}, expected #{expected}"
      end
      (1..count).map { |n| Machine.new("#{name}-#{short}#{n}", role, "#{SUBNET}.#{first + n - 1}") }
    end
  end

  def read(file)
    data = YAML.safe_load(File.read(file), filename: file) || {}
    lab = data.is_a?(Hash) ? data.fetch("lab", nil) || {} : nil
    raise Mistake, "#{file}: expected a mapping with `lab:`" unless lab.is_a?(Hash)

    lab
  rescue Errno::ENOENT
    raise Mistake, "#{file}: there is no such file; ARENA_CLUSTER names it"
  rescue Psych::Exception => e
    raise Mistake, e.message
  end

  # An Ansible inventory. keys: name => path of the private key; user: who logs in and has sudo; simulated: no real GPUs.
  def inventory(machines, keys, user:, known_hosts:, simulated:)
    groups = machines.group_by(&:role)
    gpus = groups["worker"] || groups["control_plane"] || [] # without a worker the control plane takes jobs
    parts = ["# Written by vagrant up and vagrant destroy, for the machines that are there."]
    ROLES.each_key do |role|
      rows = (groups[role] || []).map do |m|
        "#{m.name} ansible_host=#{m.address} ip=#{m.address} ansible_ssh_private_key_file=#{keys.fetch(m.name).shellescape}"
      end
      parts << ["[#{role}]", *rows].join("\n") unless rows.empty?
    end
    parts << ["[gpu]", *gpus.map(&:name)].join("\n")
    parts << "[gpu:vars]\nnvidia_driver_mode=simulated" if simulated
    options = "-o UserKnownHostsFile=#{known_hosts.shellescape} -o StrictHostKeyChecking=yes -o IdentitiesOnly=yes"
    parts << "[all:vars]\nansible_user=#{user}\nansible_become=true\nansible_ssh_common_args=#{options}"
    "#{parts.join("\n\n")}\n"
  end
end
