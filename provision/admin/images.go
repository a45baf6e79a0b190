package admin

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/k8snode/k8snode/images"
	"github.com/k8snode/k8snode/provision/library"
)

// offsetHeader says where the bytes of a request belong, and in an answer where
// those of the next one do.
const offsetHeader = "Upload-Offset"

// signatureHeader has the signature of a manifest, the file in base64.
const signatureHeader = "Manifest-Signature"

// An Image is what an operator sees of an image.
type Image struct {
	ID         string `json:"id"`
	Name       string `json:"name"`
	Kernel     string `json:"kernel"`
	Kubernetes string `json:"kubernetes,omitempty"`
	// Size is of all files that are served, in bytes.
	Size int64 `json:"size"`
	// Active says that new installs get it.
	Active bool `json:"active,omitempty"`
	// Upload is set while the image is not complete: nothing is known of it but
	// its ID and its size.
	Upload *Upload `json:"upload,omitempty"`
	// Provisioned counts the files that no lock covers.
	Provisioned int `json:"provisioned,omitempty"`
}

// Upload says how far the publishing of an image is.
type Upload struct {
	// Have is how many bytes are there.
	Have int64 `json:"have"`
}

// Library is the part of a [Backend] that keeps images. Errors wrap those of
// package library.
type Library interface {
	Images(ctx context.Context) ([]Image, error)
	Begin(ctx context.Context, o library.Offer) (library.Upload, error)
	Append(ctx context.Context, id, path string, offset int64, content io.Reader) (int64, error)
	Commit(ctx context.Context, id string) error
	Activate(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
}

func imageRoutes(l Library) []route {
	return []route{
		{
			pattern: "GET /images", name: "images", does: "Every image that is served, and those that are being published", result: []Image{},
			serve: func(w http.ResponseWriter, r *http.Request) {
				all, err := l.Images(r.Context())
				answer(w, all, err)
			},
		},
		{
			pattern: "POST /images", name: "begin", does: "Begin to publish an image, or go on with it: what files are missing",
			body: manifest{}, result: library.Upload{}, fails: []string{"one-image", "untrusted-image"},
			serve: func(w http.ResponseWriter, r *http.Request) { begin(w, r, l) },
		},
		{
			pattern: "PATCH /images/{id}/files/{path...}", name: "append", does: "Add bytes to a file, at the offset that the header " + offsetHeader + " says",
			body: rawBytes{}, result: struct{}{}, fails: []string{"unknown-image", "offset", "content"},
			serve: func(w http.ResponseWriter, r *http.Request) { appendTo(w, r, l) },
		},
		{
			pattern: "POST /images/{id}/commit", name: "commit", does: "Serve an image that has all of its files", result: struct{}{}, fails: []string{"unknown-image", "content", "untrusted-image"},
			serve: onImage(func(ctx context.Context, id string) error { return l.Commit(ctx, id) }),
		},
		{
			pattern: "POST /images/{id}/activate", name: "activate", does: "Make it the image that new installs get", result: struct{}{}, fails: []string{"unknown-image", "one-image", "untrusted-image"},
			serve: onImage(func(ctx context.Context, id string) error { return l.Activate(ctx, id) }),
		},
		{
			pattern: "DELETE /images/{id}", name: "remove", does: "Remove an image, or what has arrived of it", result: struct{}{}, fails: []string{"unknown-image", "active-image", "one-image"},
			serve: onImage(func(ctx context.Context, id string) error { return l.Remove(ctx, id) }),
		},
	}
}

func begin(w http.ResponseWriter, r *http.Request, l Library) {
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, images.MaxManifest))
	if err != nil {
		write(w, http.StatusBadRequest, errorBody{Error: fmt.Sprintf("reading the manifest: %v", err)})
		return
	}
	signature, err := base64.StdEncoding.DecodeString(r.Header.Get(signatureHeader))
	if err != nil {
		write(w, http.StatusBadRequest, errorBody{Error: "the header " + signatureHeader + " is not base64"})
		return
	}
	// What other images have is read before it is linked.
	if err := http.NewResponseController(w).SetWriteDeadline(time.Time{}); err != nil {
		write(w, http.StatusInternalServerError, errorBody{Error: err.Error()})
		return
	}
	upload, err := l.Begin(r.Context(), library.Offer{Manifest: text, Signature: signature})
	answer(w, upload, err)
}

func appendTo(w http.ResponseWriter, r *http.Request, l Library) {
	offset, err := strconv.ParseInt(r.Header.Get(offsetHeader), 10, 64)
	if err != nil || offset < 0 {
		write(w, http.StatusBadRequest, errorBody{Error: "the header " + offsetHeader + " is not a number of bytes"})
		return
	}
	// An upload takes its time: whoever was let in may have it.
	rc := http.NewResponseController(w)
	if err := errors.Join(rc.SetReadDeadline(time.Time{}), rc.SetWriteDeadline(time.Time{})); err != nil {
		write(w, http.StatusInternalServerError, errorBody{Error: err.Error()})
		return
	}
	have, err := l.Append(r.Context(), r.PathValue("id"), r.PathValue("path"), offset, r.Body)
	w.Header().Set(offsetHeader, strconv.FormatInt(have, 10))
	answer(w, struct{}{}, err)
}

// onImage serves what needs nothing but the ID of an image.
func onImage(do func(ctx context.Context, id string) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		answer(w, struct{}{}, do(r.Context(), r.PathValue("id")))
	}
}

var _ Library = (*Client)(nil)

// Images returns every image that is served, and those that are being
// published.
func (c *Client) Images(ctx context.Context) ([]Image, error) {
	var all []Image
	err := c.do(ctx, http.MethodGet, "/images", nil, &all)
	return all, err
}

// Begin begins to publish an image, or goes on with it.
func (c *Client) Begin(ctx context.Context, o library.Offer) (library.Upload, error) {
	var upload library.Upload
	// As it is: JSON that is encoded again has other bytes.
	req, err := c.request(ctx, http.MethodPost, "/images", bytes.NewReader(o.Manifest))
	if err != nil {
		return upload, err
	}
	if len(o.Signature) > 0 {
		req.Header.Set(signatureHeader, base64.StdEncoding.EncodeToString(o.Signature))
	}
	return upload, c.send(req, &upload)
}

// Append sends bytes of a file.
func (c *Client) Append(ctx context.Context, id, path string, offset int64, content io.Reader) (int64, error) {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		parts[i] = url.PathEscape(part)
	}
	target := "/images/" + url.PathEscape(id) + "/files/" + strings.Join(parts, "/")
	// Not the file's own type: a client that knows it would close it.
	req, err := c.request(ctx, http.MethodPatch, target, io.NopCloser(content))
	if err != nil {
		return 0, err
	}
	req.Header.Set(offsetHeader, strconv.FormatInt(offset, 10))
	// A server that does not want these bytes says so before they are sent.
	req.Header.Set("Expect", "100-continue")
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("sending %s: %w", path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return 0, fmt.Errorf("reading the provisioning server's answer: %w", err)
	}
	have, err := strconv.ParseInt(resp.Header.Get(offsetHeader), 10, 64)
	if err != nil {
		have = 0
	}
	if resp.StatusCode == http.StatusOK {
		return have, nil
	}
	err = readError(resp.StatusCode, b)
	if errors.Is(err, errOffset) {
		return have, &library.OffsetError{Path: path, Have: have}
	}
	if errors.Is(err, errContent) {
		return have, &remoteError{err.Error(), &library.ContentError{Path: path}}
	}
	return have, err
}

// Commit lets an image appear.
func (c *Client) Commit(ctx context.Context, id string) error {
	return c.image(ctx, "POST", id, "/commit")
}

// Activate makes an image the one that new installs get.
func (c *Client) Activate(ctx context.Context, id string) error {
	return c.image(ctx, "POST", id, "/activate")
}

// Remove removes an image.
func (c *Client) Remove(ctx context.Context, id string) error { return c.image(ctx, "DELETE", id, "") }

func (c *Client) image(ctx context.Context, method, id, verb string) error {
	return c.do(ctx, method, "/images/"+url.PathEscape(id)+verb, nil, new(struct{}))
}
