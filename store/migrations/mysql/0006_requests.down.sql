DROP TABLE IF EXISTS {{request}};
DROP TABLE IF EXISTS {{request_place}};
DROP TABLE IF EXISTS {{answer}};
