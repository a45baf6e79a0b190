package kube

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
)

func TestUpgrade(t *testing.T) {
	ctx := t.Context()
	at := func(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: systemNamespace, Name: name} }
	api := fake.NewClientset(
		&corev1.ConfigMap{ObjectMeta: at(configMap), Data: map[string]string{configKey: "apiVersion: kubeadm.k8s.io/v1beta4\nkubernetesVersion: v1.37.1\nnetworking: {}\n"}},
		&appsv1.DaemonSet{ObjectMeta: at(proxyName), Spec: appsv1.DaemonSetSpec{
			UpdateStrategy: appsv1.DaemonSetUpdateStrategy{Type: appsv1.RollingUpdateDaemonSetStrategyType},
			Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{Containers: []corev1.Container{
				{Name: proxyName, Image: "registry.internal:5000/kube-proxy:v1.37.1@sha256:0123"},
			}}},
		}},
	)
	c := &Client{api}
	for range 2 {
		if err := c.SetVersion(ctx, "v1.37.2"); err != nil {
			t.Fatal(err)
		}
		if err := c.StageProxy(ctx, "v1.37.2"); err != nil {
			t.Fatal(err)
		}
	}
	m, err := api.CoreV1().ConfigMaps(systemNamespace).Get(ctx, configMap, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Data[configKey], "apiVersion: kubeadm.k8s.io/v1beta4\nkubernetesVersion: v1.37.2\nnetworking: {}\n"; got != want {
		t.Errorf("kubeadm's configuration is %q, want %q", got, want)
	}
	proxy := func() appsv1.DaemonSetSpec {
		d, err := api.AppsV1().DaemonSets(systemNamespace).Get(ctx, proxyName, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return d.Spec
	}
	if d := proxy(); d.UpdateStrategy.Type != appsv1.OnDeleteDaemonSetStrategyType || d.Template.Spec.Containers[0].Image != "registry.internal:5000/kube-proxy:v1.37.2" {
		t.Errorf("kube-proxy is %+v", d)
	}
	if err := c.ReleaseProxy(ctx); err != nil {
		t.Fatal(err)
	}
	if d := proxy(); d.UpdateStrategy.Type != appsv1.RollingUpdateDaemonSetStrategyType {
		t.Errorf("kube-proxy is %+v", d)
	}
}

func TestUpgradeErrors(t *testing.T) {
	ctx := t.Context()
	c := &Client{fake.NewClientset()}
	if err := c.SetVersion(ctx, "v1.37.2"); err == nil || !strings.Contains(err.Error(), `setting kubeadm's version: configmaps "kubeadm-config" not found`) {
		t.Error(err)
	}
	// A cluster without kube-proxy has nothing to change.
	if err := c.StageProxy(ctx, "v1.37.2"); err != nil {
		t.Error(err)
	}
	c = &Client{fake.NewClientset(&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: systemNamespace, Name: configMap}})}
	if err := c.SetVersion(ctx, "v1.37.2"); err == nil || !strings.Contains(err.Error(), "has not one kubernetesVersion") {
		t.Error(err)
	}
}
