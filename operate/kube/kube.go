// Package kube speaks to the API servers of a running cluster: it lists nodes,
// drains them and deletes them. It is the only importer of Kubernetes' client.
//
// Draining is kubectl's own code, with its rules for DaemonSets, static pods,
// disruption budgets and local data.
//
// Start with New.
package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/kubectl/pkg/drain"
)

// controlPlaneLabel is kubeadm's.
const controlPlaneLabel = "node-role.kubernetes.io/control-plane"

// requestTimeout bounds one request.
const requestTimeout = 15 * time.Second

// A Node is what Kubernetes says of one.
type Node struct {
	Name         string
	ControlPlane bool
	Ready        bool
	// Reason is why it is not ready.
	Reason string
	// Version of its kubelet, v1.37.2.
	Version string
	Drained bool
}

// A Client speaks to a cluster.
type Client struct{ client kubernetes.Interface }

// New reads a kubeconfig. It opens no connection.
func New(kubeconfig []byte) (*Client, error) {
	config, err := clientcmd.RESTConfigFromKubeConfig(kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	config.Timeout = requestTimeout
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return &Client{client}, nil
}

// Version is that of the API server that answers, v1.37.2.
func (c *Client) Version(context.Context) (string, error) {
	v, err := c.client.Discovery().ServerVersion()
	if err != nil {
		return "", fmt.Errorf("asking the API server for its version: %w", err)
	}
	return v.GitVersion, nil
}

// Nodes lists the nodes.
func (c *Client) Nodes(ctx context.Context) ([]Node, error) {
	list, err := c.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the nodes: %w", err)
	}
	var nodes []Node
	for _, n := range list.Items {
		nodes = append(nodes, nodeOf(n))
	}
	return nodes, nil
}

func nodeOf(n corev1.Node) Node {
	_, controlPlane := n.Labels[controlPlaneLabel]
	node := Node{
		Name: n.Name, ControlPlane: controlPlane, Version: n.Status.NodeInfo.KubeletVersion,
		Reason: "it has not said how it is", Drained: n.Spec.Unschedulable,
	}
	for _, c := range n.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		node.Ready, node.Reason = c.Status == corev1.ConditionTrue, ""
		if !node.Ready {
			node.Reason = c.Reason + ": " + c.Message
		}
	}
	return node
}

// Drain keeps new pods from a node, and moves those that are there. What it
// does is written to progress. A node that does not exist is no error.
func (c *Client) Drain(ctx context.Context, name string, timeout time.Duration, progress io.Writer) error {
	node, err := c.client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("draining %s: %w", name, err)
	}
	d := &drain.Helper{
		Ctx: ctx, Client: c.client, Timeout: timeout, Out: progress, ErrOut: progress,
		GracePeriodSeconds:  -1,
		IgnoreAllDaemonSets: true,
		// The disk is about to be written anew.
		DeleteEmptyDirData: true,
		// A pod that nothing makes again is lost with the disk in any case.
		Force: true,
		// A kubelet that is gone confirms no deletion.
		SkipWaitForDeleteTimeoutSeconds: 60,
	}
	if err := drain.RunCordonOrUncordon(d, node, true); err != nil {
		return fmt.Errorf("draining %s: %w", name, err)
	}
	pods, problems := d.GetPodsForDeletion(name)
	if len(problems) > 0 {
		return fmt.Errorf("draining %s: %w", name, errors.Join(problems...))
	}
	if err := d.DeleteOrEvictPods(pods.Pods()); err != nil {
		return fmt.Errorf("draining %s: %w", name, err)
	}
	return nil
}

// Delete removes a node from Kubernetes. One that does not exist is no error.
func (c *Client) Delete(ctx context.Context, name string) error {
	err := c.client.CoreV1().Nodes().Delete(ctx, name, metav1.DeleteOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting node %s: %w", name, err)
	}
	return nil
}
