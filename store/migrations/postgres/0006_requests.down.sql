DROP TABLE {{request}}, {{request_place}}, {{answer}};
