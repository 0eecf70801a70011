import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";

// The system's own browser: nothing is downloaded. CHROMIUM names another one.
const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "node",
          environment: "node",
          include: ["src/**/*.test.ts"],
          exclude: ["src/**/*.page.test.ts"],
        },
      },
      {
        test: {
          name: "page",
          include: ["src/**/*.page.test.ts"],
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            viewport: { width: 1000, height: 800 },
            provider: playwright({
              launchOptions: {
                executablePath,
                args: [
                  "--no-sandbox",
                  "--headless",
                  "--disable-gpu",
                  "--disable-background-networking",
                  "--disable-component-update",
                  "--disable-sync",
                  "--no-first-run",
                ],
              },
            }),
            instances: [{ browser: "chromium" }],
          },
        },
      },
    ],
  },
});
