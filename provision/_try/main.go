package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net/netip"
	"os"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision"
	"github.com/k8snode/k8snode/provision/audit"
)

func main() {
	dir := os.Args[1]
	m := images.Manifest{ID: "feedbeef"}
	for _, p := range []string{images.KernelFile, images.InitrdFile, images.DiskFile, images.BlockMapFile} {
		b, err := os.ReadFile(dir + "/" + p)
		if err != nil {
			panic(err)
		}
		s := sha256.Sum256(b)
		m.Artifacts = append(m.Artifacts, images.Artifact{Path: p, Size: int64(len(b)), SHA256: hex.EncodeToString(s[:])})
	}
	k, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	t := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, _ := x509.CreateCertificate(rand.Reader, t, t, k.Public(), k)
	log := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := provision.New(context.Background(), provision.Options{
		Inventory: []provision.Machine{{Name: "n1", MAC: "52:54:00:00:00:01", Address: netip.MustParsePrefix("10.77.0.11/24")}},
		ImageDir:  dir, Manifest: m, HTTPURL: "http://10.77.0.1:8080", TLSURL: "https://10.77.0.1:8443",
		HTTPListen: "10.77.0.1:8080", DHCP: provision.DHCP{Interface: "br0", Server: netip.MustParseAddr("10.77.0.1")},
		CA:     pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Config: func(context.Context, string, string) ([]byte, error) { return nil, nil },
		Stub:   func(string, string) ([]byte, error) { return nil, nil },
		Now:    time.Now, Rand: rand.Reader, Logger: log, Audit: audit.New(os.Stdout, time.Now, audit.Tail{}),
	})
	if err != nil {
		panic(err)
	}
	if os.Args[2] == "arm" {
		if _, err := s.Arm(context.Background(), "n1", time.Hour); err != nil {
			panic(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 240*time.Second)
	defer cancel()
	if err := s.Run(ctx); err != nil {
		panic(err)
	}
}
