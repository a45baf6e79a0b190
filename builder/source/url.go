package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/k8snode/k8snode/images"
)

// maxSums is the size of a list of digests that is believed to be one.
const maxSums = 4 << 20

// Resolve pins downloads: the digest is the recipe's, or the one that upstream
// publishes at this moment. It returns one file for each download, in their
// order, and asks for each address once. All that is wrong is one error; that
// of an address that is not there any more is a [StatusError].
func (h HTTP) Resolve(ctx context.Context, downloads []images.Download) ([]File, error) {
	r := resolver{http: h, sums: map[string]string{}, sizes: map[string]int64{}, failed: map[string]bool{}}
	files := make([]File, 0, len(downloads))
	var errs []error
	for _, d := range downloads {
		f, err := r.resolve(ctx, d)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil && !errors.Is(err, errKnown) {
			errs = append(errs, fmt.Errorf("locking %s: %w", d.Name, err))
		}
		files = append(files, f)
	}
	return files, errors.Join(errs...)
}

// errKnown says that an address failed before, which was reported.
var errKnown = errors.New("reported already")

// resolver remembers what it was told.
type resolver struct {
	http   HTTP
	sums   map[string]string
	sizes  map[string]int64
	failed map[string]bool
}

func (r resolver) resolve(ctx context.Context, d images.Download) (File, error) {
	f := File{Name: fileName(d), URL: d.URL, SHA256: d.SHA256}
	if r.failed[d.URL] {
		return File{}, errKnown
	}
	var err error
	if f.SHA256 == "" {
		f.SHA256, err = r.sum(ctx, d)
	}
	if err == nil {
		f.Size, err = r.size(ctx, d.URL)
	}
	if err != nil {
		r.failed[d.URL] = true
		return File{}, err
	}
	return f, nil
}

// fileName names the whole file, of which a download may be a member.
func fileName(d images.Download) string {
	if u, err := url.Parse(d.URL); err == nil && path.Base(u.Path) != "/" && u.Path != "" {
		return path.Base(u.Path)
	}
	return d.Name
}

// sum asks for the digest of a download.
func (r resolver) sum(ctx context.Context, d images.Download) (string, error) {
	list, ok := r.sums[d.SHA256URL]
	if !ok {
		var err error
		if list, err = r.http.text(ctx, d.SHA256URL); err != nil {
			return "", err
		}
		r.sums[d.SHA256URL] = list
	}
	digest, err := FindSum(list, fileName(d))
	if err != nil {
		return "", fmt.Errorf("reading %s: %w", d.SHA256URL, err)
	}
	return digest, nil
}

// size asks how large a file is. A server that does not say so, or does not
// like to be asked, leaves it unknown.
func (r resolver) size(ctx context.Context, address string) (int64, error) {
	if size, ok := r.sizes[address]; ok {
		return size, nil
	}
	var size int64
	asked := Mirror(r.http.Mirrors, address)
	err := r.http.retry(ctx, func(ctx context.Context) (bool, error) {
		res, err := r.http.get(ctx, http.MethodHead, asked, nil)
		if err != nil {
			return false, err
		}
		defer res.Body.Close()
		status := statusError(asked, res)
		if status.Gone() || status.passing() {
			return false, status
		}
		if res.StatusCode == http.StatusOK {
			size = max(res.ContentLength, 0)
		}
		return false, nil
	})
	r.sizes[address] = size
	return size, err
}

// text fetches a small text.
func (h HTTP) text(ctx context.Context, address string) (string, error) {
	var text string
	asked := Mirror(h.Mirrors, address)
	err := h.retry(ctx, func(ctx context.Context) (bool, error) {
		res, err := h.get(ctx, http.MethodGet, asked, nil)
		if err != nil {
			return false, err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return false, statusError(asked, res)
		}
		b, err := io.ReadAll(io.LimitReader(res.Body, maxSums+1))
		switch {
		case err != nil:
			return false, stripURL(asked, err)
		case len(b) > maxSums:
			return false, &permanentError{fmt.Errorf("getting %s: more than %d MiB, which is no list of digests", asked, maxSums>>20)}
		}
		text = string(b)
		return false, nil
	})
	return text, err
}

var (
	sumLine = regexp.MustCompile(`^\\?([0-9a-fA-F]{64})(?:[ \t]+\*?(.*))?$`)
	// What the BSD tools write, and sha256sum --tag.
	bsdLine = regexp.MustCompile(`^SHA256 \((.*)\) = ([0-9a-fA-F]{64})$`)
)

// FindSum returns the SHA-256 of the named file from a text that upstream
// publishes: one digest alone, or lines in the form of sha256sum(1), whose
// names may have folders.
func FindSum(text, name string) (string, error) {
	found := map[string]bool{}
	var alone, names []string
	s := bufio.NewScanner(strings.NewReader(text))
	s.Buffer(nil, maxSums)
	for s.Scan() {
		line := strings.TrimSpace(s.Text())
		var digest, file string
		if m := sumLine.FindStringSubmatch(line); m != nil {
			digest, file = m[1], strings.TrimSpace(m[2])
		} else if m := bsdLine.FindStringSubmatch(line); m != nil {
			digest, file = m[2], m[1]
		} else {
			continue
		}
		digest = strings.ToLower(digest)
		switch {
		case file == "":
			alone = append(alone, digest)
		case path.Base(file) == name:
			found[digest] = true
		default:
			names = append(names, path.Base(file))
		}
	}
	if err := s.Err(); err != nil {
		return "", err
	}
	switch {
	case len(found) == 1:
		for digest := range found {
			return digest, nil
		}
	case len(found) > 1:
		return "", fmt.Errorf("it has several digests for %s", name)
	case len(alone) == 1 && len(names) == 0:
		return alone[0], nil
	case len(alone)+len(names) == 0:
		return "", fmt.Errorf("it has no SHA-256 digest")
	}
	slices.Sort(names)
	return "", fmt.Errorf("it has no digest of %s, but of %s", name, few(slices.Compact(names)))
}

// few names some of many.
func few(names []string) string {
	const limit = 5
	if len(names) == 0 {
		return "files without a name"
	}
	if more := len(names) - limit; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:limit], ", "), more)
	}
	return strings.Join(names, ", ")
}
