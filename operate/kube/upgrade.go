package kube

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/util/retry"
)

// Names that kubeadm gives.
const (
	systemNamespace = metav1.NamespaceSystem
	configMap       = "kubeadm-config"
	configKey       = "ClusterConfiguration"
	proxyName       = "kube-proxy"
)

var versionLine = regexp.MustCompile(`(?m)^kubernetesVersion: .*$`)

// SetVersion names the version that kubeadm installs on nodes that join, in its own
// configuration.
func (c *Client) SetVersion(ctx context.Context, version string) error {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		maps := c.client.CoreV1().ConfigMaps(systemNamespace)
		m, err := maps.Get(ctx, configMap, metav1.GetOptions{})
		if err != nil {
			return err
		}
		before := m.Data[configKey]
		if len(versionLine.FindAllString(before, -1)) != 1 {
			return fmt.Errorf("%s of the ConfigMap %s has not one kubernetesVersion", configKey, configMap)
		}
		after := versionLine.ReplaceAllLiteralString(before, "kubernetesVersion: "+version)
		if after == before {
			return nil
		}
		m.Data[configKey] = after
		_, err = maps.Update(ctx, m, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("setting kubeadm's version: %w", err)
	}
	return nil
}

// StageProxy makes new pods of kube-proxy have a version. Those that run stay until
// their node is installed again: it alone has the image of theirs.
func (c *Client) StageProxy(ctx context.Context, version string) error {
	return c.changeProxy(ctx, func(d *appsv1.DaemonSet) error {
		d.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{Type: appsv1.OnDeleteDaemonSetStrategyType}
		for i := range d.Spec.Template.Spec.Containers {
			container := &d.Spec.Template.Spec.Containers[i]
			if container.Name != proxyName {
				continue
			}
			name, _, _ := strings.Cut(container.Image, "@")
			if at := strings.LastIndexByte(name, ':'); at > strings.LastIndexByte(name, '/') {
				name = name[:at]
			}
			container.Image = name + ":" + version
			return nil
		}
		return fmt.Errorf("it has no container %s", proxyName)
	})
}

// ReleaseProxy lets the pods of kube-proxy be changed again, as kubeadm wants them.
func (c *Client) ReleaseProxy(ctx context.Context) error {
	return c.changeProxy(ctx, func(d *appsv1.DaemonSet) error {
		if d.Spec.UpdateStrategy.Type == appsv1.OnDeleteDaemonSetStrategyType {
			d.Spec.UpdateStrategy = appsv1.DaemonSetUpdateStrategy{Type: appsv1.RollingUpdateDaemonSetStrategyType}
		}
		return nil
	})
}

// changeProxy changes kube-proxy, where there is one.
func (c *Client) changeProxy(ctx context.Context, change func(*appsv1.DaemonSet) error) error {
	err := retry.RetryOnConflict(retry.DefaultRetry, func() error {
		sets := c.client.AppsV1().DaemonSets(systemNamespace)
		d, err := sets.Get(ctx, proxyName, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := change(d); err != nil {
			return err
		}
		_, err = sets.Update(ctx, d, metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("changing the DaemonSet %s: %w", proxyName, err)
	}
	return nil
}
