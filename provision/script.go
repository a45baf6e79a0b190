package provision

import (
	"bytes"
	"embed"
	"fmt"
	"net"
	"regexp"
	"strings"
	"text/template"

	"github.com/k8snode/k8snode/images"
)

//go:embed templates/*.ipxe.tmpl
var templateFS embed.FS

var scripts = template.Must(template.New("").Option("missingkey=error").ParseFS(templateFS, "templates/*.ipxe.tmpl"))

// Fetches of the install script are tried this often, this many seconds
// apart: long enough for a switch that learns a new link.
const (
	fetchTries = 10
	fetchPause = 3
)

// maxInterfaces is how many interfaces the finding script asks for.
const maxInterfaces = 8

// fetch is one download of the install script.
type fetch struct {
	Name    string
	Command string
}

func script(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := scripts.ExecuteTemplate(&b, name, data); err != nil {
		return nil, fmt.Errorf("writing boot script %s: %w", name, err)
	}
	return b.Bytes(), nil
}

// findScript leads a machine to its own script.
func (s *Server) findScript() ([]byte, error) {
	var interfaces []string
	for i := range maxInterfaces {
		interfaces = append(interfaces, fmt.Sprintf("net%d", i))
	}
	return script("find.ipxe.tmpl", map[string]any{"URL": s.opts.HTTPURL, "Interfaces": interfaces})
}

func (s *Server) installScript(m machine, image string) ([]byte, error) {
	args := s.opts.KernelArguments
	if args == nil {
		args = DefaultKernelArguments()
	}
	// The seed is fetched last, so that its token lives a short time, but
	// named first: a kernel that loads the files itself joins them without
	// padding, and only the seed's size is sure to be a multiple of four.
	kernel := append([]string{
		"kernel --name vmlinuz", s.artifactURL(image, images.KernelFile), "initrd=seed.cpio", "initrd=initrd.img",
	}, args...)
	return script("install.ipxe.tmpl", map[string]any{
		"Node":  m.Name,
		"Image": image,
		"Tries": fetchTries,
		"Pause": fetchPause,
		"Fetches": []fetch{
			{"kernel", strings.Join(kernel, " ")},
			{"initrd", "initrd --name initrd.img " + s.artifactURL(image, images.InitrdFile)},
			{"seed", "initrd --name seed.cpio " + s.opts.HTTPURL + "/seed/" + m.urlMAC() + ".cpio"},
		},
	})
}

func (s *Server) localScript(m machine, reason string) ([]byte, error) {
	return script("local.ipxe.tmpl", map[string]any{"Node": m.Name, "Reason": reason})
}

func (s *Server) unknownScript(mac net.HardwareAddr) ([]byte, error) {
	name := plainText.ReplaceAllString(s.opts.InventoryName, "_")
	if name == "" {
		name = "the cluster document"
	}
	return script("unknown.ipxe.tmpl", map[string]any{"MAC": mac.String(), "Inventory": name})
}

// plainText matches what must not stand in a line of a script.
var plainText = regexp.MustCompile(`[^A-Za-z0-9._/ -]`)

// artifactURL is the public URL of an artifact of an image.
func (s *Server) artifactURL(image, path string) string {
	return s.opts.HTTPURL + "/artifacts/" + image + "/" + path
}
