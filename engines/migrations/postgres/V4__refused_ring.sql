-- The refused requests of a webhook go by the order they were written in: the clocks of gateways
-- differ.
DROP INDEX refused_requests_webhook;
CREATE INDEX refused_requests_webhook ON refused_requests (webhook_id, id DESC);

-- Old counts are forgotten, of quiet webhooks too.
CREATE INDEX webhook_traffic_span ON webhook_traffic (span);
