package ui_test

import (
	"fmt"
	"strings"

	"golang.org/x/net/html"
)

// structure returns what is wrong with the elements of a page.
func structure(root *html.Node) []string {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	ids, refs, labelled := map[string]int{}, map[string]string{}, map[string]bool{}
	counts := map[string]int{}
	heading := 0
	for n := range root.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		attr := map[string]string{}
		for _, a := range n.Attr {
			attr[a.Key] = a.Val
			if strings.HasPrefix(a.Key, "on") || a.Key == "style" {
				problem("<%s> has the attribute %s", n.Data, a.Key)
			}
			if (a.Key == "href" || a.Key == "src" || a.Key == "action") && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#") {
				problem("<%s> leads to %q", n.Data, a.Val)
			}
		}
		counts[n.Data]++
		if id, ok := attr["id"]; ok {
			ids[id]++
		}
		for _, key := range []string{"for", "aria-labelledby"} {
			if id, ok := attr[key]; ok {
				refs[id] = n.Data
				if key == "for" {
					labelled[id] = true
				}
			}
		}
		switch n.Data {
		case "html":
			if attr["lang"] != "en" {
				problem("the page has no language")
			}
		case "script":
			if n.FirstChild != nil {
				problem("a script is in the page")
			}
		case "style", "iframe", "object", "embed", "svg":
			problem("there is a <%s>", n.Data)
		case "img":
			if _, ok := attr["alt"]; !ok || !strings.HasPrefix(attr["src"], "/assets/") {
				problem("an image is %q", attr["src"])
			}
		case "h1", "h2", "h3":
			level := int(n.Data[1] - '0')
			if level > heading+1 {
				problem("h%d comes after h%d", level, heading)
			}
			heading = level
		case "table":
			if first := firstElement(n); first == nil || first.Data != "caption" {
				problem("a table has no caption")
			}
		case "th":
			if attr["scope"] == "" {
				problem("a th has no scope")
			}
		case "input", "select":
			if attr["type"] != "hidden" && !labelled[attr["id"]] {
				// The label may come behind.
				refs[attr["id"]] = "label"
			}
		case "progress", "nav", "aside":
			if attr["aria-label"] == "" {
				problem("a <%s> has no name", n.Data)
			}
		}
	}
	for id, count := range ids {
		if count > 1 {
			problem("the id %s is there %d times", id, count)
		}
	}
	for id, from := range refs {
		if ids[id] != 1 || from == "label" && !labelled[id] {
			problem("a <%s> names %q", from, id)
		}
	}
	if counts["h1"] != 1 || counts["main"] != 1 || counts["script"] != 1 || ids["main"] != 1 {
		problem("%d h1, %d main, %d scripts", counts["h1"], counts["main"], counts["script"])
	}
	return problems
}

func firstElement(n *html.Node) *html.Node {
	for c := range n.ChildNodes() {
		if c.Type == html.ElementNode {
			return c
		}
	}
	return nil
}
