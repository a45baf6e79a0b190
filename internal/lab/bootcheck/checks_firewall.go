package bootcheck

import "strings"

// What curl ends with: nobody listens, and says so; nobody answers.
const (
	refused = "7"
	dropped = "28"
)

// firewallChecks have whoever runs on a node connect to its provisioning server.
// Nobody listens there: what passes is refused, what is dropped gets no answer.
func firewallChecks(server string) []Check {
	curl := "curl --silent --output /dev/null --max-time 5 "
	pod := `nsenter --net="/run/netns/$(ls /run/netns | head -n 1)" `
	address, _, _ := strings.Cut(server, ":")
	return []Check{
		{"the firewall is loaded", "systemctl is-active k8snode-firewall.service", equals("active")},
		{"a shell reaches the server", curl + server + "; echo $?", equals(refused)},
		{"the agent reaches the server", "systemd-run --quiet --wait --collect --slice k8snode.slice " + curl + server + "; echo $?", equals(refused)},
		{"the kubelet does not", "systemd-run --quiet --wait --collect --slice system.slice " + curl + server + "; echo $?", equals(dropped)},
		{"a pod does not", pod + curl + server + "; echo $?", equals(dropped)},
		{"a pod reaches what else is there", pod + curl + address + ":9; echo $?", equals(refused)},
		{"a pod on the host's network does not reach the server", `mkdir /sys/fs/cgroup/kubepods.slice/lab.scope
sh -c 'echo $$ >/sys/fs/cgroup/kubepods.slice/lab.scope/cgroup.procs && exec ` + curl + server + `'; echo $?
rmdir /sys/fs/cgroup/kubepods.slice/lab.scope`, equals(dropped)},
		{"a pod does not by a Service, which leads elsewhere", byService(address) +
			`timeout 60 sh -c "until ipvsadm --list --numeric | grep -q '` + address + `:9 '; do sleep 1; done"
for port in 8080 9; do ` + pod + curl + "10.96.0.77:$port; echo $?; done", equals(dropped + "\n" + refused)},
	}
}

// byService makes a Service that leads to an address outside of the cluster.
func byService(address string) string {
	return kubectl + `apply -f - >/dev/null <<'END'
apiVersion: v1
kind: Service
metadata: {name: outside}
spec:
  clusterIP: 10.96.0.77
  ports: [{name: server, port: 8080}, {name: other, port: 9}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: outside-1, labels: {kubernetes.io/service-name: outside}}
addressType: IPv4
endpoints: [{addresses: ["` + address + `"]}]
ports: [{name: server, port: 8080}, {name: other, port: 9}]
END
`
}
