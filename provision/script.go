package provision

import (
	"bytes"
	"embed"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/inventory"
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

// facts is the query by which a machine says what it is, in iPXE's own
// variables: those of an interface that is not there are empty.
func facts() string {
	query := []string{"uuid=${uuid}", "serial=${serial:uristring}", "manufacturer=${manufacturer:uristring}", "product=${product:uristring}"}
	for i := range maxInterfaces {
		query = append(query, fmt.Sprintf("mac=${net%d/mac:hexhyp}", i))
	}
	return strings.Join(query, "&")
}

// findScript leads a machine to its own script.
func (s *Server) findScript() ([]byte, error) {
	return script("find.ipxe.tmpl", map[string]any{
		"Command": "chain --autofree --replace " + s.opts.HTTPURL + scriptPath + "?" + facts(),
		"Tries":   fetchTries,
		"Pause":   fetchPause,
	})
}

func (s *Server) installScript(m inventory.Machine, image string) ([]byte, error) {
	args := s.opts.KernelArguments
	if args == nil {
		args = images.InstallerArguments()
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
			{"seed", "initrd --name seed.cpio " + s.opts.HTTPURL + seedPath + "?" + facts()},
		},
	})
}

func (s *Server) localScript(m inventory.Machine, reason string) ([]byte, error) {
	return script("local.ipxe.tmpl", map[string]any{"Node": m.Name, "Reason": reason, "Boot": string(m.LocalBoot)})
}

// Waiting machines ask again this often, this many seconds apart: an hour. Then
// they go on to what their firmware has next.
const (
	waitTries = 120
	waitPause = 30
)

// waitScript lets a machine ask again until an operator has done something.
func (s *Server) waitScript(machine, reason, remedy string) ([]byte, error) {
	return script("wait.ipxe.tmpl", map[string]any{
		"Machine": plainText.ReplaceAllString(machine, "_"),
		"Reason":  plainText.ReplaceAllString(reason, "_"),
		"Remedy":  plainText.ReplaceAllString(remedy, "_"),
		"Command": "chain --autofree --replace " + s.opts.HTTPURL + scriptPath + "?" + facts(),
		"Tries":   waitTries,
		"Pause":   waitPause,
	})
}

// plainText matches what must not stand in a line of a script.
var plainText = regexp.MustCompile(`[^A-Za-z0-9._:,/ -]`)

// artifactURL is the public URL of an artifact of an image.
func (s *Server) artifactURL(image, path string) string {
	return s.opts.HTTPURL + "/artifacts/" + image + "/" + path
}
