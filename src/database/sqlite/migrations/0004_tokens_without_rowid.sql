-- Each guarded request looks a token up: without a rowid its row is where its key is found.
CREATE TABLE `__new_tokens` (
	`id` text PRIMARY KEY NOT NULL,
	`user_id` integer NOT NULL,
	`last_used_at` integer,
	`expires_at` integer NOT NULL,
	`created_at` integer NOT NULL,
	`kind` text DEFAULT 'login' NOT NULL,
	`description` text NOT NULL,
	FOREIGN KEY (`user_id`) REFERENCES `users`(`id`) ON UPDATE no action ON DELETE cascade
) WITHOUT ROWID;
--> statement-breakpoint
INSERT INTO `__new_tokens` (`id`, `user_id`, `last_used_at`, `expires_at`, `created_at`, `kind`, `description`)
SELECT `id`, `user_id`, `last_used_at`, `expires_at`, `created_at`, `kind`, `description` FROM `tokens`;
--> statement-breakpoint
DROP TABLE `tokens`;
--> statement-breakpoint
ALTER TABLE `__new_tokens` RENAME TO `tokens`;
--> statement-breakpoint
CREATE INDEX `tokens_user_id_index` ON `tokens` (`user_id`);
--> statement-breakpoint
CREATE INDEX `tokens_expires_at_index` ON `tokens` (`expires_at`);
