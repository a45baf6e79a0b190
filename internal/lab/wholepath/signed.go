package wholepath

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/internal/lab"
)

// sign makes a pair of keys and signs the image with it, in a folder of its own:
// that of the bake stays as it is. A server that has the key does not start
// before.
func sign(ctx context.Context, opts Options, docs documents) error {
	if err := share(opts.Image, docs.image); err != nil {
		return fmt.Errorf("sharing the image: %w", err)
	}
	k8snode := tool{path: opts.K8snode, docs: docs, socket: filepath.Join(opts.Dir, "refused.sock")}
	if _, err := k8snode.run(ctx, "keygen", "--out", docs.key, "--passphrase-file", docs.passphrase); err != nil {
		return err
	}
	refuse, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	args := append([]string{"serve"}, docs.secretArgs()...)
	args = append(args, "--image", docs.image, "--image-key", docs.publicKey(), "--socket", k8snode.socket, "--data", filepath.Join(opts.Dir, "refused"))
	if _, err := k8snode.run(refuse, args...); err == nil || !strings.Contains(err.Error(), "it is not signed") {
		return fmt.Errorf("an image that is not signed is served: %w", err)
	}
	_, err := k8snode.run(ctx, "sign", docs.image, "--key", docs.key, "--passphrase-file", docs.passphrase)
	return err
}

// share makes a folder with the files of another one, without a signature. They
// are the same files where the file system can do that.
func share(from, to string) error {
	return filepath.WalkDir(from, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil {
			return err
		}
		other := filepath.Join(to, rel)
		switch {
		case d.IsDir():
			return os.MkdirAll(other, 0o755)
		case rel == images.SignatureFile:
			return nil
		}
		if os.Link(name, other) == nil {
			return nil
		}
		return copyFile(name, other)
	})
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = out.ReadFrom(in)
	return errors.Join(err, out.Close())
}

// looked sees that every machine looked who signed what it installed.
func looked(machines []lab.Machine) error {
	for _, m := range machines {
		console, err := os.ReadFile(m.Console())
		if err != nil {
			return err
		}
		if !strings.Contains(string(console), "is signed with the key") {
			return fmt.Errorf("node %s did not look who signed its image", m.Name())
		}
	}
	return nil
}
