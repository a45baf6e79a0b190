package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"time"
)

// qmpReply is one message of the QEMU Machine Protocol: the greeting, an
// event, a result or an error. https://qemu.org/docs/master/interop/qmp-spec.html
type qmpReply struct {
	Greeting *json.RawMessage `json:"QMP"`
	Event    string           `json:"event"`
	Return   json.RawMessage  `json:"return"`
	Error    *struct {
		Class       string `json:"class"`
		Description string `json:"desc"`
	} `json:"error"`
}

// qmpTimeout bounds a conversation: a QEMU that emulates at full load still
// answers within a second.
const qmpTimeout = 10 * time.Second

// queryMachine runs one command on a machine's QMP socket and decodes its
// result into result, unless that is nil.
func queryMachine(ctx context.Context, socket, command string, result any) error {
	if err := converse(ctx, socket, command, result); err != nil {
		return fmt.Errorf("asking QEMU to %s: %w", command, err)
	}
	return nil
}

func converse(ctx context.Context, socket, command string, result any) error {
	ctx, cancel := context.WithTimeout(ctx, qmpTimeout)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()

	replies := json.NewDecoder(conn)
	var greeting qmpReply
	if err := replies.Decode(&greeting); err != nil {
		return fmt.Errorf("reading the greeting: %w", err)
	}
	if greeting.Greeting == nil {
		return fmt.Errorf("%s does not speak QMP", socket)
	}
	for _, name := range []string{"qmp_capabilities", command} {
		if err := json.NewEncoder(conn).Encode(map[string]string{"execute": name}); err != nil {
			return err
		}
		answer, err := readAnswer(replies)
		if err != nil {
			return err
		}
		if name != command || result == nil {
			continue
		}
		if err := json.Unmarshal(answer, result); err != nil {
			return fmt.Errorf("decoding the result: %w", err)
		}
	}
	return nil
}

// readAnswer skips the events that come between.
func readAnswer(replies *json.Decoder) (json.RawMessage, error) {
	for {
		var r qmpReply
		if err := replies.Decode(&r); err != nil {
			return nil, fmt.Errorf("reading the answer: %w", err)
		}
		switch {
		case r.Error != nil:
			return nil, fmt.Errorf("%s: %s", r.Error.Class, r.Error.Description)
		case r.Event == "":
			return r.Return, nil
		}
	}
}
