CREATE TABLE `signing_keys` (
	`id` text PRIMARY KEY NOT NULL,
	`last_used_at` integer NOT NULL
);
