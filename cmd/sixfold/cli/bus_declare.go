package cli

import (
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) busDeclare() *cobra.Command {
	var path string
	dry := false
	c := &cobra.Command{Use: "declare [TOPIC...] [--topology FILE]", Short: "make topics and their dead letters where they are missing",
		Long: `Make topics and their dead letters where they are missing. What is there stays as it is. The
file is TOML:

    [[topic]]
    name = "orders"
    lanes = 16       # as many members of an ordered group can work at once
    replicas = 3
    dedup = "2m"     # a second message of the same id within this is dropped

RabbitMQ takes the name only.`}
	c.Flags().StringVar(&path, "topology", "", "TOML `file` with the topics")
	c.Flags().BoolVar(&dry, "dry-run", false, "say what would be made, and make nothing")
	c.RunE = func(c *cobra.Command, args []string) error {
		var topics []topic
		if path != "" {
			var err error
			if topics, err = readTopology(path); err != nil {
				return err
			}
		}
		for _, name := range args {
			if err := checkTopicName(name); err != nil {
				return err
			}
			topics = append(topics, topic{Name: name})
		}
		if len(topics) == 0 {
			return usage("there is no topic", "name some, or give --topology with a file")
		}
		b, err := a.openBroker(c.Context())
		if err != nil {
			return err
		}
		defer b.close()
		return a.declare(c, b, topics, dry)
	}
	return c
}

func (a *app) declare(c *cobra.Command, b broker, topics []topic, dry bool) error {
	type outcome struct {
		Topic string `json:"topic"`
		State string `json:"state"` // there, made, would be made
		Text  string `json:"text,omitempty"`
	}
	list := []outcome{}
	for i, t := range topics {
		there, err := b.find(c.Context(), t.Name)
		o := outcome{t.Name, "there", there}
		if err == nil && there == "" && dry {
			o.State = "would be made"
		} else if err == nil && !dry { // also where it is there: its dead letters may be missing
			if there == "" {
				o.State = "made"
			}
			if err = b.declare(c.Context(), t); err == nil {
				o.Text, err = b.find(c.Context(), t.Name)
			}
		}
		if err != nil {
			f := asFailure(err)
			return &failure{f.Code, fmt.Sprintf("%s (%d of %d topics were looked after before)", f.Message, i, len(topics)), f.Hint}
		}
		list = append(list, o)
	}
	if a.format == "json" {
		return a.json(list)
	}
	rows := [][]string{{"TOPIC", "STATE", ""}}
	for _, o := range list {
		rows = append(rows, []string{o.Topic, o.State, o.Text})
	}
	rows[0][2] = "WHERE"
	return a.table(rows)
}
