package bootcheck

import (
	"encoding/json"
	"fmt"
	"strings"

	agentnode "github.com/k8snode/k8snode/agent/node"
	"github.com/k8snode/k8snode/images"
)

// kubectl asks the API server on the node itself.
const kubectl = "kubectl --kubeconfig /etc/kubernetes/admin.conf --request-timeout 30s "

// KubernetesChecks hold on a control plane whose kubeadm init is done.
func KubernetesChecks(m images.Manifest, node string) []Check {
	return append(NodeChecks(m, node), Check{"every pod is Running", kubectl + "get pods -A -o json", judgePods})
}

// NodeChecks are those of KubernetesChecks that look at the node, and not at the
// pods of the cluster.
func NodeChecks(m images.Manifest, node string) []Check {
	return []Check{
		{"the node is Ready", kubectl + "get node " + node + " -o json", func(got string) error {
			return judgeNode(got, m.Kubernetes)
		}},
		{"no container image was pulled", "journalctl -b -o cat -u containerd | grep -c 'PullImage.*returns image reference' || true", equals("0")},
		// A node is Ready a little before its bootstrap is done.
		{"no credential to join is left", "for i in $(seq 240); do [ -e " + agentnode.Done + " ] && break; sleep 1; done; find /etc/k8snode/discovery.conf /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/super-admin.conf -maxdepth 0 2>/dev/null || true", equals("")},
		{"private keys are nobody else's", secretsCommand, judgeSecrets},
		{"the journal holds no private key", "journalctl -b -o cat | grep -c -e '-----BEGIN .*PRIVATE KEY' || true", equals("0")},
	}
}

// judgeNode reads a Node.
func judgeNode(got, version string) error {
	var node struct {
		Status struct {
			NodeInfo struct {
				KubeletVersion          string `json:"kubeletVersion"`
				ContainerRuntimeVersion string `json:"containerRuntimeVersion"`
			} `json:"nodeInfo"`
			Conditions []condition `json:"conditions"`
		} `json:"status"`
	}
	if err := json.Unmarshal([]byte(got), &node); err != nil {
		return fmt.Errorf("reading the node: %w", err)
	}
	if info := node.Status.NodeInfo; info.KubeletVersion != version || !strings.HasPrefix(info.ContainerRuntimeVersion, "containerd://2.") {
		return fmt.Errorf("it runs kubelet %s on %s, want %s on containerd 2", info.KubeletVersion, info.ContainerRuntimeVersion, version)
	}
	for _, c := range node.Status.Conditions {
		if c.Type != "Ready" {
			continue
		}
		if c.Status != "True" {
			return fmt.Errorf("%s: %s", c.Reason, c.Message)
		}
		return nil
	}
	return fmt.Errorf("it has no condition Ready")
}

type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// controlPlanePods begin the names of the pods that a control plane has.
var controlPlanePods = []string{"coredns-", "kube-apiserver-", "kube-controller-manager-", "kube-proxy-", "kube-scheduler-"}

// judgePods reads a list of pods: those of a control plane are there, and all
// run.
func judgePods(got string) error {
	var list struct {
		Items []struct {
			Metadata struct {
				Name string `json:"name"`
			} `json:"metadata"`
			Status struct {
				Phase      string      `json:"phase"`
				Conditions []condition `json:"conditions"`
			} `json:"status"`
		} `json:"items"`
	}
	if err := json.Unmarshal([]byte(got), &list); err != nil {
		return fmt.Errorf("reading the pods: %w", err)
	}
	var wrong []string
	seen := map[string]bool{}
	for _, pod := range list.Items {
		for _, prefix := range controlPlanePods {
			seen[prefix] = seen[prefix] || strings.HasPrefix(pod.Metadata.Name, prefix)
		}
		if pod.Status.Phase != "Running" {
			wrong = append(wrong, pod.Metadata.Name+" is "+pod.Status.Phase)
			continue
		}
		for _, c := range pod.Status.Conditions {
			if c.Type == "Ready" && c.Status != "True" {
				wrong = append(wrong, pod.Metadata.Name+" is not ready: "+c.Reason)
			}
		}
	}
	for _, prefix := range controlPlanePods {
		if !seen[prefix] {
			wrong = append(wrong, "there is no "+prefix+"*")
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return nil
}

// secretsCommand lists the files with private keys and passwords, each behind
// its mode and owner. Container file systems are on another device, and this
// command itself is below /run/k8snode-lab.
const secretsCommand = `find /etc /run /var -xdev -type f -size -1024k -not -path '/run/k8snode-lab/*' \
	-exec grep -l -s -e '-----BEGIN .*PRIVATE KEY' -e 'client-key-data:' {} + |
	xargs -r stat -c '%04a %u %n'`

// judgeSecrets wants no file that others can read, and the secrets that every
// control plane has: a search that finds nothing proves nothing.
func judgeSecrets(got string) error {
	var wrong []string
	found := map[string]bool{}
	for line := range strings.Lines(got) {
		mode, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		_, path, _ := strings.Cut(rest, " ")
		found[path] = true
		if len(mode) != 4 || mode[3] != '0' {
			wrong = append(wrong, path+" has mode "+mode)
		}
	}
	for _, path := range []string{"/etc/kubernetes/pki/ca.key", "/etc/kubernetes/admin.conf", "/etc/etcd/pki/server.key"} {
		if !found[path] {
			wrong = append(wrong, path+" was not found")
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%s", strings.Join(wrong, "; "))
	}
	return nil
}
