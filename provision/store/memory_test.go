package store_test

import (
	"testing"

	"github.com/k8snode/k8snode/provision/store"
	"github.com/k8snode/k8snode/provision/store/storetest"
)

func TestMemory(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return new(store.Memory) })
}
