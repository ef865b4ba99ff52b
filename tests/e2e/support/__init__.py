"""What the end-to-end tests stand on: real PostgreSQL servers, a real container engine, a real pgseal."""
